/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_TEST_VALIDATOR_H
#define PG_TEST_VALIDATOR_H

#include "packgate/frame.h"
#include "packgate/session.h"

/* What test_differential and validator.bpf.c exchange: a batch of questions with room for answers.
 */

#define FRAME_BATCH  512
#define WINDOW_BATCH 4096

struct frame_case {
	__u64 key[2];
	__u32 bytes;
	__u8 direction;
	__u8 guard;
	__u8 drop;	  /* answer: enum pg_drop */
	__u8 guard_right; /* answer, where the frame is valid and has a guard */
	struct pg_frame frame;
	/* the verifier bounds an offset by a mask of 12 bits */
	__u8 data[4096 + 32];
};

struct window_case {
	__u64 bits[PG_WINDOW_WORDS];
	__u32 highest;
	__u32 pack;
	__u8 policy;
	__u8 drop; /* answer */
	__u8 reserved[6];
};

#endif
