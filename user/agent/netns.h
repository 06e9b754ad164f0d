/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_NETNS_H
#define PG_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "error.h"

/* The network namespaces of this machine: which there are, what they are called, how to go there.
 */

#define PG_NETNS_MAX	   1024
#define PG_NETNS_NAME	   64
#define PG_NETNS_COMM	   16 /* the kernel's own bound, with its terminator */
#define PG_NETNS_CONTAINER 65

struct pg_netns {
	uint64_t inode; /* its identity while it lives */
	bool own;	/* the one the asking thread was in */
	/*
	 * Unique in a list. The first in alphabetical order under /run/netns (what `ip netns`
	 * shows); else "init" if process 1, or kthreadd, is the lowest in it; else the first 12
	 * digits of the container's id; else "PID/COMMAND" of the lowest pid in it; else
	 * "net:[INODE]". What would name two gets "@INODE" behind it.
	 */
	char name[PG_NETNS_NAME];
	char container[PG_NETNS_CONTAINER]; /* its id, 64 hex digits; "" = none */
	pid_t pid;			    /* the lowest in it; 0 = not looked for, or none */
	char comm[PG_NETNS_COMM];	    /* of that process */
	char path[PG_NETNS_NAME + 16];	    /* opens it, as long as it is the same */
};

/* The namespace the calling thread is in; of processes only 1 and 2 are looked at. */
int pg_netns_own(struct pg_netns *ret_netns, struct pg_error *error);

/*
 * All namespaces that have a name under /run/netns or a process in them, the own one too, ordered
 * by name; the caller frees. A namespace that only a thread, a socket or a mount elsewhere keeps
 * alive is not found. Beyond PG_NETNS_MAX they are left away
 * and counted in *ret_cut (to 2,048). Costs one
 * readlink a process; others' processes need CAP_SYS_PTRACE.
 */
int pg_netns_list(struct pg_netns **ret_rows, size_t *ret_n, size_t *ret_cut,
		  struct pg_error *error);

/* Whether a person's word means this namespace: its name, its inode, or its whole container id. */
bool pg_netns_is(const struct pg_netns *netns, const char *word);

/*
 * Calls visit once for each row, in a thread that stands in that namespace (err 0), or that could
 * not go there: -ENOENT when it has vanished, -EPERM without CAP_SYS_ADMIN, or another errno. That
 * thread is made for this and ends before the call returns: no other ever leaves its namespace.
 * Returns 0, or why there is no thread.
 */
typedef void (*pg_netns_visitor)(size_t index, int err, void *context);

int pg_netns_visit(const struct pg_netns *rows, size_t n, pg_netns_visitor visit, void *context);

/*
 * Finds the container's id in a text as /proc/PID/cgroup has it: a run of exactly 64 hex digits
 * that is a path component or ends one after '-' or ':', whatever may follow a '.'; the last one.
 */
bool pg_netns_container(const char *text, size_t bytes, char ret_id[PG_NETNS_CONTAINER]);

#endif
