/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CONFIG_BPF_H
#define PG_CONFIG_BPF_H

/* Set by the agent before the program is loaded; one program per interface. */
const volatile __u32 interface_slot; /* into the counter arrays, < PG_INTERFACES_MAX */
const volatile __u32 session_mask;   /* entries of pg_sessions - 1 */
const volatile bool acks_here;	     /* duplicates are acked by XDP_TX, not by the agent */

#endif
