/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_REQUEST_H
#define PG_CLI_REQUEST_H

#include <jansson.h>

#include "cleanup.h"
#include "cli.h"

/* What the agent said. */
struct answer {
	char *text; /* terminated */
	size_t bytes;
	json_t *root;  /* of text, NULL if that is no JSON */
	long status;   /* of HTTP, 0 without an answer */
	char why[512]; /* the sentence of a failure */
};

void answer_done(struct answer *answer);
#define ANSWER PG_CLEANUP(answer_done) struct answer

struct request {
	const char *method; /* NULL = GET */
	const char *path;
	const char *body; /* NULL = none */
	size_t body_bytes;
	const char *content_type; /* NULL = application/json */
	/* Instead of collecting: takes whole lines of the answer; false ends the request. */
	bool (*line)(const char *line, void *context);
	void *context;
};

/* Asks and prints nothing. CLI_DONE only for a status of 2xx; answer is set in each case. */
int request_quietly(const struct request *request, struct answer *ret_answer);

/* The same, but says on stderr what failed, "packgate: doing: sentence". */
int request_send(const char *doing, const struct request *request, struct answer *ret_answer);

/*
 * GETs path and makes sure that JSON came; with --json prints it, and the caller shows nothing
 * more (see cli.json).
 */
int request_show(const char *doing, const char *path, struct answer *ret_answer);

/* A segment or value of a path, percent-encoded; the caller frees. */
char *request_escape(const char *text);

#endif
