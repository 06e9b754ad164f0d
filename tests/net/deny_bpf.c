// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Preloaded into the agent: refuses what some kernels refuse of bpf(2), so that what the agent
 * falls back to can be seen on one that refuses nothing. PG_DENY_BPF is "tracking" (programs that
 * run at tracepoints) or "iterator" (programs that walk sockets).
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

static bool denied(long command, const union bpf_attr *attributes)
{
	const char *what = getenv("PG_DENY_BPF");

	if (!what || command != BPF_LINK_CREATE)
		return false;
	return !strcmp(what, "tracking") ? attributes->link_create.attach_type == BPF_TRACE_RAW_TP
					 : attributes->link_create.attach_type == BPF_TRACE_ITER;
}

long syscall(long number, ...)
{
	static long (*next)(long number, ...);
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_bpf && denied(arguments[0], (const union bpf_attr *)arguments[1])) {
		errno = EPERM;
		return -1;
	}
	if (!next)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
		    arguments[5]);
}
