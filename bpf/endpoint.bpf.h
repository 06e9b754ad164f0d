/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_ENDPOINT_BPF_H
#define PG_ENDPOINT_BPF_H

#include "local.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "shield.bpf.h"

static __always_inline bool endpoint_matches(const struct route *route,
					     const struct pg_endpoint *endpoint)
{
	if (endpoint->family != route->family)
		return false;
	if (endpoint->wildcard)
		return target_is_local(route);
	return endpoint->address[0] == route->target[0] && endpoint->address[1] == route->target[1];
}

/*
 * The endpoint that the datagram claims to be for, exact addresses before wildcards; NULL = none.
 * Leaves its index in the route.
 */
static __always_inline const struct pg_endpoint *find_endpoint(struct route *route)
{
	__u32 port = host16(route->target_port_be);
	const __u32 *head = bpf_map_lookup_elem(&pg_ports, &port);
	__u32 index = head ? *head : 0;

	for (int i = 0; i < PG_ENDPOINTS_PER_PORT && index; i++) {
		const struct pg_endpoint *endpoint = bpf_map_lookup_elem(&pg_endpoints, &index);

		if (!endpoint)
			return NULL;
		if (endpoint_matches(route, endpoint)) {
			route->endpoint = index;
			return endpoint;
		}
		index = endpoint->next;
	}
	return NULL;
}

enum route_kind {
	ROUTE_PASS,
	ROUTE_DATAGRAM, /* *ret_route is filled but for the endpoint */
	ROUTE_SHIELD,	/* a segment for a port that has a shield; *ret_route is filled */
};

/*
 * Reads headers of every shape. A global function, so that the verifier walks those shapes once and
 * all that follows starts from one state; it costs one call. Returns an enum route_kind.
 */
__noinline int read_route(struct xdp_md *ctx, struct route *ret_route)
{
	struct headers in = {
		.data = (const void *)(long)ctx->data,
		.end = (const void *)(long)ctx->data_end,
		.route = ret_route,
	};

	if (!ret_route || parse(&in) != NEXT)
		return ROUTE_PASS;
	if (ret_route->protocol != IPPROTO_TCP)
		return ROUTE_DATAGRAM;
	ret_route->endpoint = shield_on_port(ret_route->target_port_be);
	return ret_route->endpoint ? ROUTE_SHIELD : ROUTE_PASS;
}

#define PAYLOAD_OFFSET_MAX 1023

static __always_inline enum step step_shield(struct pkt *pkt)
{
	int verdict = shield(pkt->ctx, pkt->route);

	if (verdict == SHIELD_CHECK)
		verdict = check_ack(pkt->route);
	if (verdict < 0)
		return refuse(pkt, -verdict);
	if (verdict == SHIELD_PASS)
		return PASS;
	switch (answer_syn(pkt->ctx, pkt->route)) {
	case SENT:
		return SYN_COOKIE;
	case NOT_SENT:
		return PASS;
	}
	return ABORT;
}

/* The route and the payload of a datagram; what is none ends here. */
static __always_inline enum step step_route(struct pkt *pkt)
{
	struct headers in = { .data = pkt->data, .end = pkt->end, .route = pkt->route };
	__u32 offset;

	if (parse_plain(&in)) {
		pkt->payload = pkt->data + PLAIN_PAYLOAD_AT;
		return NEXT;
	}
	switch (read_route(pkt->ctx, pkt->route)) {
	case ROUTE_SHIELD:
		return step_shield(pkt);
	case ROUTE_DATAGRAM:
		break;
	default:
		return PASS;
	}
	offset = pkt->route->payload_offset;
	if (offset > PAYLOAD_OFFSET_MAX)
		return PASS;
	pkt->payload = pkt->data + offset;
	return NEXT;
}

static __always_inline enum step step_endpoint(struct pkt *pkt)
{
	pkt->endpoint = find_endpoint(pkt->route);
	if (!pkt->endpoint)
		return PASS;
	return pkt->route->fault ? refuse(pkt, pkt->route->fault) : NEXT;
}

#endif
