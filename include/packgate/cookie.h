/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_COOKIE_H
#define PACKGATE_COOKIE_H

#include "handshake.h"
#include "siphash.h"

/*
 * The stateless cookie of PROTOCOL section 5: epoch (1) || 7 zero bytes || SipHash-2-4, which is
 * stored little-endian. Compiles for BPF and user space.
 */

#define PG_COOKIE_EPOCHS 4 /* secrets kept; two are valid, so that one is written in peace */
#define PG_COOKIE_AT_TAG 8

/*
 * Part of pg_shared. The secret of an epoch is key[epoch % PG_COOKIE_EPOCHS]; epoch is stored with
 * release order after it. Cookies of this epoch and the last are valid.
 */
struct pg_cookie_secrets {
	__u64 key[PG_COOKIE_EPOCHS][2];
	__u8 epoch;
	__u8 reserved[7];
};

/* Whom a cookie is for. Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. */
struct pg_cookie_subject {
	__u64 source[2], target[2];
	__u16 source_port_be, target_port_be;
	__u16 client_id_be;
};

static __always_inline __u64 pg_cookie_le16(__u16 as_stored)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return as_stored;
#else
	return __builtin_bswap16(as_stored);
#endif
}

/* SipHash over source || target || source port || target port || client id, 38 bytes. */
static __always_inline __u64 pg_cookie_tag(const __u64 key[2],
					   const struct pg_cookie_subject *subject)
{
	struct pg_siphash s;

	pg_siphash_start(&s, key);
	pg_siphash_word(&s, pg_le64(subject->source[0]));
	pg_siphash_word(&s, pg_le64(subject->source[1]));
	pg_siphash_word(&s, pg_le64(subject->target[0]));
	pg_siphash_word(&s, pg_le64(subject->target[1]));
	return pg_siphash_finish(&s, PG_SIPHASH_LAST(38) | pg_cookie_le16(subject->source_port_be) |
					     pg_cookie_le16(subject->target_port_be) << 16 |
					     pg_cookie_le16(subject->client_id_be) << 32);
}

/* The first 8 bytes of a cookie name an epoch whose secret is still good. */
static __always_inline int pg_cookie_epoch_valid(__u8 now, __u64 first_8_le)
{
	return first_8_le == now || first_8_le == (__u8)(now - 1);
}

/* first_8_le and tag are the halves of the cookie as it came. */
static __always_inline int pg_cookie_valid(const struct pg_cookie_secrets *secrets,
					   const struct pg_cookie_subject *subject,
					   __u64 first_8_le, __u64 tag)
{
	__u64 key[2];

	if (!pg_cookie_epoch_valid(secrets->epoch, first_8_le))
		return 0;
	key[0] = secrets->key[first_8_le % PG_COOKIE_EPOCHS][0];
	key[1] = secrets->key[first_8_le % PG_COOKIE_EPOCHS][1];
	/* one word: the comparison takes the same time wherever they differ */
	return pg_cookie_tag(key, subject) == tag;
}

#endif
