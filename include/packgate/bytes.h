/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PACKGATE_BYTES_H
#define PACKGATE_BYTES_H

#include <linux/types.h>

/*
 * Loads and stores at any alignment with the byte order in the name. BPF loads a word at once (the
 * verifier and the JIT allow it); user space goes through memcpy, which compiles to the same.
 */

#ifndef __always_inline
#define __always_inline inline __attribute__((__always_inline__))
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define pg_be16(x) __builtin_bswap16(x)
#define pg_be32(x) __builtin_bswap32(x)
#define pg_be64(x) __builtin_bswap64(x)
#define pg_le32(x) ((__u32)(x))
#define pg_le64(x) ((__u64)(x))
#else
#define pg_be16(x) ((__u16)(x))
#define pg_be32(x) ((__u32)(x))
#define pg_be64(x) ((__u64)(x))
#define pg_le32(x) __builtin_bswap32(x)
#define pg_le64(x) __builtin_bswap64(x)
#endif

#ifdef __bpf__
#define PG_LOAD(type, p) (*(const type *)(p))
#else
#define PG_LOAD(type, p)                                        \
	({                                                      \
		type value_;                                    \
		__builtin_memcpy(&value_, (p), sizeof(value_)); \
		value_;                                         \
	})
#endif

static __always_inline __u16 pg_load_be16(const void *p)
{
	return pg_be16(PG_LOAD(__u16, p));
}

static __always_inline __u32 pg_load_be32(const void *p)
{
	return pg_be32(PG_LOAD(__u32, p));
}

static __always_inline __u64 pg_load_be64(const void *p)
{
	return pg_be64(PG_LOAD(__u64, p));
}

static __always_inline __u64 pg_load_le64(const void *p)
{
	return pg_le64(PG_LOAD(__u64, p));
}

static __always_inline __u32 pg_load_le32(const void *p)
{
	return pg_le32(PG_LOAD(__u32, p));
}

#ifndef __bpf__
static inline void pg_store_be16(void *p, __u16 value)
{
	value = pg_be16(value);
	__builtin_memcpy(p, &value, sizeof(value));
}

static inline void pg_store_be32(void *p, __u32 value)
{
	value = pg_be32(value);
	__builtin_memcpy(p, &value, sizeof(value));
}

static inline void pg_store_be64(void *p, __u64 value)
{
	value = pg_be64(value);
	__builtin_memcpy(p, &value, sizeof(value));
}

static inline void pg_store_le64(void *p, __u64 value)
{
	value = pg_le64(value);
	__builtin_memcpy(p, &value, sizeof(value));
}
#endif

#endif
