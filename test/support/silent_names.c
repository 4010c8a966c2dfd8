/*
 * Preloaded into a server by a test: the look-up of a name that begins with "silent" never ends, as if its name server
 * never answered. All other names are looked up as ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (node != NULL && strncmp(node, "silent", 6) == 0)
		for (;;)
			pause();
	if (real == NULL)
		real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **)) dlsym(RTLD_NEXT, "getaddrinfo");
	return real(node, service, hints, result);
}
