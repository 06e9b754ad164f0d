/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_MAPS_BPF_H
#define PG_MAPS_BPF_H

#include "packgate/abi.h"

/*
 * DESIGN section 3. The agent sets the sizes that the configuration decides (pg_sessions,
 * pg_windows, pg_opened, pg_acks, pg_streams, pg_strm_*) before it creates the maps, and pins all
 * of them but pg_xsks once for the instance.
 */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pg_shared);
} pg_shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} pg_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PG_ENDPOINTS_MAX);
	__type(key, __u32);
	__type(value, struct pg_endpoint);
} pg_endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct pg_session);
} pg_sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct pg_window);
} pg_windows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct pg_opened);
} pg_opened SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct pg_stream_key);
	__type(value, struct pg_stream_ref);
} pg_streams SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct pg_stream_line);
} pg_strm_lines SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct pg_window);
} pg_strm_windows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, PG_QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} pg_xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PG_DROP_ENTRIES);
	__type(key, __u32);
	__type(value, struct pg_count);
} pg_drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PG_COUNT_ENTRIES);
	__type(key, __u32);
	__type(value, struct pg_count);
} pg_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PG_STEERED_ENTRIES);
	__type(key, __u32);
	__type(value, struct pg_count);
} pg_steered SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PG_SOURCES);
	__type(key, __u32);
	__type(value, struct pg_bucket);
} pg_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct pg_acks_state);
} pg_acks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, PG_EVENT_RING_BYTES);
} pg_events SEC(".maps");

static __always_inline const struct pg_shared *shared_state(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&pg_shared, &zero);
}

#endif
