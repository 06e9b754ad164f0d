/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ENDPOINT_BPF_H
#define PG_ENDPOINT_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"

/* A wildcard takes only what is addressed to this namespace, never what it routes. */
static __always_inline bool target_is_local(const struct route *route)
{
	__u32 slot = PG_LOCAL_HASH(route->target[0], route->target[1]);

	for (int i = 0; i < PG_LOCALS_PROBES; i++) {
		const struct pg_local *local = bpf_map_lookup_elem(&pg_locals, &slot);

		if (!local || !(local->address[0] | local->address[1]))
			return false;
		if (local->address[0] == route->target[0] && local->address[1] == route->target[1])
			return true;
		slot = (slot + 1) & (PG_LOCALS_SLOTS - 1);
	}
	return false;
}

static __always_inline bool endpoint_matches(const struct route *route,
					     const struct pg_endpoint *endpoint)
{
	if (endpoint->family != route->family)
		return false;
	if (endpoint->wildcard)
		return target_is_local(route);
	return endpoint->address[0] == route->target[0] && endpoint->address[1] == route->target[1];
}

/* The endpoint that the datagram claims to be for, exact addresses before wildcards; 0 = none. */
static __always_inline __u32 find_endpoint(const struct route *route)
{
	__u32 port = pg_be16(route->target_port_be);
	const __u32 *head = bpf_map_lookup_elem(&pg_ports, &port);
	__u32 index = head ? *head : 0;

	for (int i = 0; i < PG_ENDPOINTS_PER_PORT && index; i++) {
		const struct pg_endpoint *endpoint = bpf_map_lookup_elem(&pg_endpoints, &index);

		if (!endpoint)
			return 0;
		if (endpoint_matches(route, endpoint))
			return index;
		index = endpoint->next;
	}
	return 0;
}

/*
 * Reads the headers and finds the endpoint. A global function, so that the verifier walks the many
 * shapes of headers once and all that follows starts from one state; it costs one call.
 * Returns 1 with *ret_route filled when the datagram is ours, 0 when it is to pass.
 */
__noinline int find_route(struct xdp_md *ctx, struct route *ret_route)
{
	struct headers in = {
		.data = (const void *)(long)ctx->data,
		.end = (const void *)(long)ctx->data_end,
		.route = ret_route,
	};

	if (!ret_route || parse(&in) != NEXT)
		return 0;
	ret_route->endpoint = find_endpoint(ret_route);
	return ret_route->endpoint != 0;
}

#define PAYLOAD_OFFSET_MAX 1023

static __always_inline enum step step_endpoint(struct pkt *pkt)
{
	__u32 offset;

	if (!find_route(pkt->ctx, &pkt->route))
		return PASS;
	pkt->endpoint = bpf_map_lookup_elem(&pg_endpoints, &pkt->route.endpoint);
	offset = pkt->route.payload_offset;
	if (!pkt->endpoint || offset > PAYLOAD_OFFSET_MAX)
		return PASS;
	pkt->payload = pkt->data + offset;
	return pkt->route.fault ? refuse(pkt, pkt->route.fault) : NEXT;
}

#endif
