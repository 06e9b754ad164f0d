/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_TOP_MODEL_H
#define PG_CLI_TOP_MODEL_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What `packgate top` shows, read from the agent's own metrics (docs/metrics.md), whose names are
 * fixed. A sample is one scrape; rates come from two. A metric that is not there counts as 0.
 */

#define TOP_INTERFACES_MAX 16
#define TOP_COUNTS_MAX	   64
#define TOP_LISTENERS_MAX  2048

struct top_interface {
	char name[16];
	char mode[24];
	unsigned int queues;
};

struct top_count {
	char name[32]; /* a reason, a state */
	double value;
};

struct top_counts {
	size_t count;
	struct top_count rows[TOP_COUNTS_MAX];
};

struct top_listener {
	char netns[64];
	char address[48];
	char port[8];
	double accept, accept_limit;
	double syn, syn_young, syn_limit;
};

struct top_sample {
	double taken_s; /* CLOCK_MONOTONIC, set by the caller */
	char version[32], instance[32];
	double started_s; /* Unix time */
	size_t interface_count;
	struct top_interface interfaces[TOP_INTERFACES_MAX];
	/* totals over interfaces and queues */
	double steered, passed, dropped, acks;
	double opened, delivered, rejected_total;
	double overflows, listen_drops, cookies; /* over namespaces */
	double sessions, sessions_limit;
	struct top_counts reasons;	       /* of the gate's drops */
	struct top_counts rejected;	       /* reasons of the agent */
	struct top_counts states;	       /* of sessions */
	size_t listener_count, listeners_lost; /* lost: beyond TOP_LISTENERS_MAX */
	struct top_listener listeners[TOP_LISTENERS_MAX];
};

/*
 * Reads an exposition in OpenMetrics text. Lines that it does not understand are passed over.
 * Returns how many samples of packgate it found; 0 means this is no agent's answer.
 */
size_t top_sample_parse(const char *text, struct top_sample *ret_sample);

/* A counter's rise a second; 0 where it fell (the agent started anew) or no time passed. */
double top_rate(double now, double before, double seconds);

/* The value of a row by its name; 0 where there is none. */
double top_counts_value(const struct top_counts *counts, const char *name);

/* How full a queue is, from 0 on; 0 where there is no limit. */
double top_fill(double length, double limit);

enum top_sort {
	TOP_SORT_ACCEPT, /* the fullest accept queue first */
	TOP_SORT_SYN,	 /* the fullest SYN queue first */
	TOP_SORT_NAME,	 /* namespace, port, address */
	TOP_SORT_COUNT
};

const char *top_sort_name(enum top_sort sort);
void top_sort_listeners(struct top_sample *sample, enum top_sort sort);

#endif
