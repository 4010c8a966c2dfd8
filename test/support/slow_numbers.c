/*
 * Preloaded into a server by a test. To read a number that begins with eight zeros takes STAND_STILL_MS of the time in
 * which the process does nothing, as if the machine were busy with others. To read one that begins with eight nines takes
 * BURN_MS of the processor's time, but only the first time in each process, as if a virtual machine had charged the process
 * with the time of others.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#define STAND_STILL_MS 12
#define BURN_MS 12

static void burn(void)
{
	static int has_burned;
	struct timespec now;
	long until_ns;

	if (has_burned)
		return;
	has_burned = 1;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	until_ns = now.tv_sec * 1000000000L + now.tv_nsec + BURN_MS * 1000000L;
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	while (now.tv_sec * 1000000000L + now.tv_nsec < until_ns);
}

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
	if (strncmp(text, "99999999", 8) == 0)
		burn();
	return real(text, end);
}
