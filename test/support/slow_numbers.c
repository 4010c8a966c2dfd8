/*
 * Preloaded into a server by a test: to read a number that begins with eight zeros takes STAND_STILL_MS of the time in
 * which the process does nothing, as if the machine were busy with others.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define STAND_STILL_MS 12

double strtod(const char *text, char **end)
{
	static double (*real)(const char *, char **);

	if (real == NULL)
		real = (double (*)(const char *, char **)) dlsym(RTLD_NEXT, "strtod");
	if (strncmp(text, "00000000", 8) == 0)
	{
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += STAND_STILL_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		/* To the end, whatever signals come: the server's timers do. */
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
			;
	}
	return real(text, end);
}
