/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_HANDSHAKE_BPF_H
#define PG_HANDSHAKE_BPF_H

#include "account.bpf.h"
#include "answer.bpf.h"
#include "limits.bpf.h"
#include "packgate/cookie.h"

/*
 * Shakehands (PROTOCOL section 5). While cookies are due, one without a valid cookie is answered
 * from here and never reaches the agent: a flood from addresses that are not the sender's costs no
 * memory and no other CPU.
 */

/* What of a shakehand the cookie needs, as it came. */
struct shakehand {
	__u64 cookie[PG_COOKIE_BYTES / 8];
	__u16 client_id_be;
};

static __always_inline void cookie_subject(const struct route *route, __u16 client_id_be,
					   struct pg_cookie_subject *ret_subject)
{
	ret_subject->source[0] = route->source[0];
	ret_subject->source[1] = route->source[1];
	ret_subject->target[0] = route->target[0];
	ret_subject->target[1] = route->target[1];
	ret_subject->source_port_be = route->source_port_be;
	ret_subject->target_port_be = route->target_port_be;
	ret_subject->client_id_be = client_id_be;
}

/* The frame holds them all: a shakehand's payload has at least 256 bytes. */
static __always_inline bool load_shakehand(struct xdp_md *ctx, const struct route *route,
					   struct shakehand *ret_shakehand)
{
	__u32 frame = route->payload_offset;

	return !bpf_xdp_load_bytes(ctx, frame + PG_AT_CLIENT_ID, &ret_shakehand->client_id_be,
				   sizeof(ret_shakehand->client_id_be)) &&
	       !bpf_xdp_load_bytes(ctx, frame + PG_HEADER_MIN + PG_SHAKEHAND_AT_COOKIE,
				   ret_shakehand->cookie, sizeof(ret_shakehand->cookie));
}

/* Global functions, so that the verifier walks the hashing once. */
__noinline int cookie_right(struct xdp_md *ctx, const struct route *route)
{
	const struct pg_shared *shared = shared_state();
	struct pg_cookie_subject subject;
	struct shakehand shakehand;

	if (!route || !shared || !load_shakehand(ctx, route, &shakehand))
		return 0;
	cookie_subject(route, shakehand.client_id_be, &subject);
	return pg_cookie_valid(&shared->cookies, &subject, pg_le64(shakehand.cookie[0]),
			       pg_le64(shakehand.cookie[1]));
}

/* Sends code 2 with a cookie back. Returns the XDP action. */
__noinline int give_cookie(struct xdp_md *ctx, const struct route *route)
{
	const struct pg_shared *shared = shared_state();
	struct pg_cookie_subject subject;
	struct shakehand shakehand;
	struct answer answer = {};
	__u64 now_ms, key[2], tag;
	__u32 epoch;

	if (!route || !shared || !load_shakehand(ctx, route, &shakehand))
		return XDP_ABORTED;
	epoch = shared->cookies.epoch;
	key[0] = shared->cookies.key[epoch % PG_COOKIE_EPOCHS][0];
	key[1] = shared->cookies.key[epoch % PG_COOKIE_EPOCHS][1];
	cookie_subject(route, shakehand.client_id_be, &subject);
	tag = pg_cookie_tag(key, &subject);
	now_ms = (bpf_ktime_get_ns() + shared->clock_offset_ns) / 1000000;
	/* header; code, epoch and seven zero bytes; the tag, one byte off its word */
	answer.words[0] = pg_le64((__u64)pg_cookie_le16(shakehand.client_id_be) |
				  (__u64)pg_le32(pg_be32((__u32)(now_ms >> 32))) << 32);
	answer.words[1] =
		pg_le64((__u64)pg_le32(pg_be32((__u32)now_ms)) | (__u64)PG_OP_HANDSHAKE << 40 |
			(__u64)(1 + PG_COOKIE_BYTES) << 56);
	answer.words[2] = pg_le64(PG_HANDSHAKE_COOKIE | epoch << 8);
	answer.words[3] = pg_le64(tag << 8);
	answer.words[4] = pg_le64(tag >> 56);
	answer.bytes = PG_HANDSHAKE_COOKIE_BYTES;
	return send_answer(ctx, route, &answer);
}

/*
 * A shakehand matches no session: its source's bucket decides whether the agent sees it. Only what
 * is steered empties the bucket, so a flood without cookies does not shut out its alleged source.
 */
static __always_inline enum step step_shakehand(struct pkt *pkt)
{
	const struct pg_shared *shared = shared_state();

	if (!pkt->endpoint->handshake)
		return refuse(pkt, PG_DROP_HANDSHAKE_OFF);
	count_one(PG_COUNT_SHAKEHANDS, pkt->ctx->data_end - pkt->ctx->data);
	if (shared && shared->cookie_due && !cookie_right(pkt->ctx, pkt->route))
		return pkt->route->plain ? COOKIE : refuse(pkt, PG_DROP_COOKIE_UNANSWERED);
	if (unmatched(pkt) == PG_DROP_RATE_LIMITED)
		return refuse(pkt, PG_DROP_RATE_LIMITED);
	return STEER;
}

static __always_inline int answer_cookie(struct xdp_md *ctx, struct pkt *pkt, __u64 bytes)
{
	int action = give_cookie(ctx, pkt->route);

	count_one(action == XDP_TX ? PG_COUNT_COOKIES : PG_COUNT_ABORTED, bytes);
	return action;
}

#endif
