/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLIENT_STATE_H
#define PG_CLIENT_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "keys.h"
#include "packgate/session.h"

/*
 * What a provisioned session must not forget between two runs of its client (PROTOCOL section 2):
 * packIds and stream ids used, the newest timestamp, and what was received. A file that is mapped,
 * so that every change is there for the next process however this one ends; what a crash of the
 * machine did to it nobody can know, so then it is refused. No keys are in it.
 */
struct pg_client_memory {
	char magic[8];
	uint32_t version, bytes; /* of this struct */
	uint8_t secret_id[PG_SECRET_ID_BYTES];
	uint64_t inode; /* of the file: a copy has another */
	uint32_t session;
	uint8_t aead, policy, guard;
	uint8_t running;      /* a run has not ended in order */
	uint8_t ended;	      /* the session is over: goaway */
	uint8_t reserved[23]; /* 0 */
	char boot[40];	      /* boot id of the machine during the last run, as text */
	uint64_t next_stream; /* 0 = none was ever opened, beyond 32 bits: used up */
	uint32_t highest;     /* packId received */
	uint32_t padding;
	struct pg_window window;
};

struct pg_client_state {
	int fd; /* locked; -1 = none */
	struct pg_client_memory *memory;
};

/* What the session is; a state of another one is refused. */
struct pg_client_state_of {
	const uint8_t *secret; /* PG_SECRET_BYTES */
	uint32_t session;
	uint8_t aead, policy;
	bool guard;
};

/*
 * Opens or makes the file, locks it and marks it as running, on the disk, before anything is sent.
 * -EBUSY another process has it, -ESTALE the machine went down while it was in use, or it is a
 * copy, -EKEYREJECTED it is of another secret, session, AEAD, policy or guard, -EKEYEXPIRED the
 * session ended, -EUCLEAN no such file of this version, -EPERM others may read or write it,
 * -EOPNOTSUPP a file system that forgets, or what the system said; with a sentence.
 */
int pg_client_state_open(const char *path, const struct pg_client_state_of *of,
			 struct pg_client_state *ret_state, struct pg_error *error);

/* In order: all of it is on the disk, and the next run may come after a reboot, too. */
void pg_client_state_close(struct pg_client_state *state);

#endif
