/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_BENCH_E2E_H
#define PG_BENCH_E2E_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "generator.h"
#include "keys.h"

/*
 * Frames through a veth pair to packgated over AF_XDP, and to a plain recvmmsg server that does the
 * same work. The generator has CPU 0; the server and the NAPI thread of its interface have CPU 1.
 * Functions that return nothing end the process with a sentence when they fail: bench_die().
 */

#define SESSIONS      64
#define SERVER_PORT   4000
#define SERVER_IP     "10.88.0.1"
#define CLIENT_IP     "10.88.0.2"
#define SERVER_MAC    "02:00:00:00:88:01"
#define CLIENT_MAC    "02:00:00:00:88:02"
#define GENERATOR_CPU 0
#define SERVER_CPU    1

/* Ends the process; what was made is removed first. */
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

struct bench_session {
	uint32_t id;   /* client id << 16 | server id */
	uint16_t port; /* of its client */
	uint8_t secret[PG_SECRET_BYTES];
	struct pg_keys keys;
};

extern struct bench_session bench_sessions[SESSIONS];

/* --- e2e_net.c ---------------------------------------------------------------------------------
 */

struct bench_net {
	char server[32], client[32]; /* namespaces */
	char server_if[16], client_if[16];
	bool made;
};

void bench_net_open(struct bench_net *net);
void bench_net_close(struct bench_net *net); /* of what was never opened too */
/* Moves the calling thread into a namespace of the pair. */
void bench_net_enter(const char *name);
/* Gives the NAPI thread of an interface its CPU; returns its pid. */
pid_t bench_net_napi(const char *interface, int cpu);

/* --- e2e_frames.c ------------------------------------------------------------------------------
 */

/* Makes the sessions; the same in every run of a bench. */
void bench_sessions_make(void);
/* Seals count frames: number i is packId 1 + i / SESSIONS of session i % SESSIONS. */
void bench_frames_seal(struct pool_frame *pool, uint32_t count);

/* --- e2e_generator.c ---------------------------------------------------------------------------
 */

/* Takes a pool of at most max frames, as many as memory allows. */
void bench_generator_open(const struct bench_net *net, uint32_t max);
void bench_generator_close(void);
uint32_t bench_generator_pool(void);

struct bench_load {
	double rate; /* honest frames a second, 0 = as fast as it goes */
	double seconds;
	bool flood;
	uint32_t first; /* where in the pool to begin */
};

struct bench_sent {
	uint64_t honest, flood, echoed;
	double seconds;
};

/* Sends, then waits until the echoes have come to rest. */
void bench_generator_run(const struct bench_load *load, struct bench_sent *ret_sent);

/* --- e2e_cpu.c ---------------------------------------------------------------------------------
 */

/* Gives a thread a CPU, in front of everybody else; 0 = the calling one. Children inherit it. */
void bench_pin(pid_t pid, int cpu);
/*
 * Puts the calling process in front of the other sessions of the machine, where the kernel shares
 * CPU time among sessions first: the priorities of threads count only within one.
 */
void bench_raise_group(void);
/* Both for a server's process, which gets as much of SERVER_CPU as its NAPI thread. */
void bench_stand_alone(void);
/* CPU time of all threads of a process so far, in seconds. */
double bench_cpu_seconds(pid_t pid);
/* What /proc/stat says a CPU did so far, in seconds; coarse, a check of the above. */
double bench_cpu_busy(int cpu);

/* --- servers -----------------------------------------------------------------------------------
 */

enum bench_deliver { BENCH_DISCARD, BENCH_ECHO };

struct bench_server {
	const char *name;
	pid_t pid;
	/* Starts it on SERVER_CPU with every session fresh. */
	void (*start)(struct bench_server *server, const struct bench_net *net,
		      enum bench_deliver deliver);
	void (*stop)(struct bench_server *server);
	/* Data frames authenticated and accepted since its start. */
	uint64_t (*opened)(struct bench_server *server);
};

extern struct bench_server bench_agent; /* e2e_agent.c */
extern struct bench_server bench_plain; /* e2e_plain.c */

/* Where packgated and packgate are. */
extern const char *bench_build;

#endif
