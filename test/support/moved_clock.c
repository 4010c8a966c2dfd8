/*
 * Preloaded into a server by a test: the server's wall clock is ahead of the machine's by the microseconds that stand in
 * the file that WEBHOOK_CLOCK names, as eight bytes in the machine's order. Clocks that only count on are not moved.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t ahead(void)
{
	static volatile const int64_t *offset;

	if (offset == NULL)
	{
		const char *name = getenv("WEBHOOK_CLOCK");
		int file = name == NULL ? -1 : open(name, O_RDONLY);
		void *mapped;

		if (file < 0)
			return 0;
		mapped = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
		close(file);
		if (mapped == MAP_FAILED)
			abort();
		offset = mapped;
	}
	return *offset;
}

static int move(int64_t seconds, int64_t nanoseconds, struct timespec *to)
{
	int64_t total = seconds * 1000000 + ahead() + nanoseconds / 1000;

	to->tv_sec = total / 1000000;
	to->tv_nsec = total % 1000000 * 1000 + nanoseconds % 1000;
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	static int (*real)(clockid_t, struct timespec *);
	int status;

	if (real == NULL)
		real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
	status = real(clock, time);
	return status != 0 || clock != CLOCK_REALTIME ? status : move(time->tv_sec, time->tv_nsec, time);
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	struct timespec now;

	(void) zone;
	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return -1;
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *to)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return -1;
	if (to != NULL)
		*to = now.tv_sec;
	return now.tv_sec;
}
