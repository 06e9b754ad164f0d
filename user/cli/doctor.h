/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_DOCTOR_H
#define PG_CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "config.h"

enum verdict {
	VERDICT_OK,
	VERDICT_WARN,
	VERDICT_FAIL,
};

/* What doctor found so far. */
struct findings {
	json_t *rows; /* {"check", "verdict", "finding", "advice"} */
	enum verdict worst;
};

/* advice: what to do; "" where nothing is to be done. check names what was looked at. */
void finding_add(struct findings *findings, enum verdict verdict, const char *check,
		 const char *advice, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Kernel, BTF, bpffs, JIT, capabilities, memlock. */
void doctor_host(struct findings *findings);

/* Driver, offloads, MTU, queues, another XDP program. */
void doctor_interface(struct findings *findings, const char *name);

/* Whether a foreign process has the UDP port of an endpoint. */
void doctor_port(struct findings *findings, const char *endpoint, uint16_t port);

/* Likewise of a TCP entrance or of the metrics. */
void doctor_tcp_port(struct findings *findings, const char *what, uint16_t port);

/* The files of a configuration: the state directory, the groups of the sockets. */
void doctor_files(struct findings *findings, const struct pg_config *config);

#endif
