// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What the tests put between the agent and libc, to have at will what a loaded machine or a stepped
 * clock brings now and then. PG_PRELOAD is the beginning of two files' names: .slow, one wake-up of
 * an AF_XDP socket waits so many milliseconds and the file goes; .clock, CLOCK_REALTIME is off by
 * so many milliseconds while the file is there.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

/* The number in a file, or 0. */
static long read_number(const char *suffix, char *path, size_t bytes)
{
	const char *start = getenv("PG_PRELOAD");
	long number = 0;
	FILE *file;

	snprintf(path, bytes, "%s%s", start ? start : "", suffix);
	file = start ? fopen(path, "re") : NULL;
	if (!file)
		return 0;
	if (fscanf(file, "%ld", &number) != 1)
		number = 0;
	fclose(file);
	return number;
}

static int family_of(int fd)
{
	int family = AF_UNSPEC;
	socklen_t bytes = sizeof(family);

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &bytes);
	return family;
}

EXPORTED ssize_t sendto(int fd, const void *data, size_t bytes, int flags,
			const struct sockaddr *to, socklen_t to_bytes)
{
	static ssize_t (*next)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	struct timespec wait;
	char path[256];
	long ms;

	if (!next)
		next = dlsym(RTLD_NEXT, "sendto");
	if (!data && !bytes && family_of(fd) == AF_XDP) {
		ms = read_number(".slow", path, sizeof(path));
		if (ms && !unlink(path)) {
			wait = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
			nanosleep(&wait, NULL);
		}
	}
	return next(fd, data, bytes, flags, to, to_bytes);
}

EXPORTED int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	static int (*next)(clockid_t, struct timespec *);
	char path[256];
	long ms, ns;
	int err;

	if (!next)
		next = dlsym(RTLD_NEXT, "clock_gettime");
	err = next(clock, ret_now);
	if (err || clock != CLOCK_REALTIME)
		return err;
	ms = read_number(".clock", path, sizeof(path));
	ns = ret_now->tv_nsec + ms % 1000 * 1000000;
	ret_now->tv_sec += ms / 1000 + (ns >= 1000000000) - (ns < 0);
	ret_now->tv_nsec = ns - 1000000000 * ((ns >= 1000000000) - (ns < 0));
	return 0;
}
