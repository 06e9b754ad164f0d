// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* What is ours and what passes: link and IP headers, UDP lengths, endpoints. */
#include "gate_fixture.h"
#include "mutate.h"

#define V4(address, to_port, ...)                                                                \
	{                                                                                        \
		.family = 4, .source = "198.51.100.7", .target = (address), .source_port = 5555, \
		.target_port = (to_port), __VA_ARGS__                                            \
	}
#define V6(address, to_port, ...)                                                                 \
	{                                                                                         \
		.family = 6, .source = "2001:db8:7::7", .target = (address), .source_port = 5556, \
		.target_port = (to_port), __VA_ARGS__                                             \
	}
#define OURS4(...) V4("192.0.2.1", GUARDED_PORT, __VA_ARGS__)
#define OURS6(...) V6("2001:db8::1", GUARDED_PORT, __VA_ARGS__)

#define FRAME_BYTES 76 /* of DATA(1) with its guard */

#define STEERED (-1)
#define PASSED	(-2)

struct path_row {
	const char *name;
	struct datagram datagram;
	int want;  /* enum pg_drop, STEERED or PASSED */
	int extra; /* bytes inside the IP payload behind the UDP datagram */
};

static int judge_row(struct gate *gate, const struct path_row *row)
{
	const struct place *place = &places[row->datagram.family == 6];
	struct verdict want = row->want == STEERED  ? STEERS
			      : row->want == PASSED ? PASSES
						    : DROPS_FOR(row->want);
	struct datagram d = row->datagram;
	struct frame_spec spec = DATA(1);
	struct frame_bytes frame;
	char name[128];

	build_frame(&spec, place->ids, place->key, &frame);
	assert_int_equal(frame.n, FRAME_BYTES);
	memset(frame.bytes + frame.n, 0, row->extra);
	frame.n += row->extra;
	d.udp_delta -= row->extra;
	snprintf(name, sizeof(name), "%s, %s", row->name, place->name);
	return gate_judge_frame(gate, name, &d, &frame, want);
}

static void judge_rows(struct gate *gate, const struct path_row *rows, size_t count)
{
	int wrong = 0;

	for (size_t i = 0; i < count; i++)
		wrong += judge_row(gate, &rows[i]);
	assert_int_equal(wrong, 0);
}

/* --- the link ----------------------------------------------------------------------------------
 */

static const struct path_row link_rows[] = {
	{ "plain", OURS4(), .want = STEERED },
	{ "plain", OURS6(), .want = STEERED },
	{ "one tag", OURS4(.vlan_tags = 1), .want = STEERED },
	{ "one tag", OURS6(.vlan_tags = 1), .want = STEERED },
	{ "two tags", OURS4(.vlan_tags = 2), .want = STEERED },
	{ "two tags", OURS6(.vlan_tags = 2), .want = STEERED },
	{ "802.1ad", OURS4(.vlan_tags = 2, .vlan_protocol = 0x88a8), .want = STEERED },
	{ "802.1ad", OURS6(.vlan_tags = 1, .vlan_protocol = 0x88a8), .want = STEERED },
	{ "three tags", OURS4(.vlan_tags = 3), .want = PASSED },
	{ "three tags", OURS6(.vlan_tags = 3), .want = PASSED },
	{ "unknown tag", OURS4(.vlan_tags = 1, .vlan_protocol = 0x9100), .want = PASSED },
	{ "ARP", OURS4(.ether_type = 0x0806), .want = PASSED },
	{ "ARP behind a tag", OURS4(.ether_type = 0x0806, .vlan_tags = 1), .want = PASSED },
	{ "local experiment", OURS4(.ether_type = 0x88b5), .want = PASSED },
	{ "802.3 length", OURS4(.ether_type = 100), .want = PASSED },
	{ "IPv4 called IPv6", OURS4(.ether_type = 0x86dd), .want = PASSED },
	{ "IPv6 called IPv4", OURS6(.ether_type = 0x0800), .want = PASSED },
	{ "version 6 in IPv4", OURS4(.version = 6), .want = PASSED },
	{ "version 4 in IPv6", OURS6(.version = 4), .want = PASSED },
	{ "Ethernet padding", OURS4(.padding = 18), .want = STEERED },
	{ "Ethernet padding", OURS6(.padding = 18), .want = STEERED },
	{ "padding behind a tag", OURS4(.padding = 1, .vlan_tags = 1), .want = STEERED },
};

static void link_headers(void **state)
{
	judge_rows(*state, link_rows, ARRAY_SIZE(link_rows));
}

/* --- IPv4 --------------------------------------------------------------------------------------
 */

static const struct path_row ipv4_rows[] = {
	{ "TCP", OURS4(.protocol = IPPROTO_TCP), .want = PASSED },
	{ "ICMP", OURS4(.protocol = IPPROTO_ICMP), .want = PASSED },
	{ "UDP-Lite", OURS4(.protocol = IPPROTO_UDPLITE), .want = PASSED },
	{ "port above", V4("192.0.2.1", GUARDED_PORT + 1), .want = PASSED },
	{ "port below", V4("192.0.2.1", GUARDED_PORT - 1), .want = PASSED },
	{ "port with its bytes swapped", V4("192.0.2.1", 0xa00f), .want = PASSED },
	{ "port 0", V4("192.0.2.1", 0), .want = PASSED },
	{ "port 65535", V4("192.0.2.1", 65535), .want = PASSED },
	{ "address above", V4("192.0.2.2", GUARDED_PORT), .want = PASSED },
	{ "address, first byte", V4("193.0.2.1", GUARDED_PORT), .want = PASSED },
	{ "broadcast", V4("255.255.255.255", GUARDED_PORT), .want = PASSED },
	{ "options, 4 bytes", OURS4(.option_bytes = 4), .want = STEERED },
	{ "options, 40 bytes", OURS4(.option_bytes = 40), .want = STEERED },
	{ "options behind tags", OURS4(.option_bytes = 40, .vlan_tags = 2), .want = STEERED },
	{ "header length 0", OURS4(.ihl = 16),
	  .want = PASSED }, /* cut to 4 bits, and the version is 5 */
	{ "header length 4", OURS4(.ihl = 4), .want = PASSED },
	{ "header length beyond the ports", OURS4(.ihl = 15), .want = PASSED },
	{ "don't fragment", OURS4(.fragment = 0x4000), .want = STEERED },
	{ "evil bit", OURS4(.fragment = 0x8000), .want = STEERED },
	{ "first fragment", OURS4(.fragment = 0x2000), .want = PG_DROP_IP_FRAGMENT },
	{ "second fragment", OURS4(.fragment = 0x2001), .want = PASSED },
	{ "last fragment", OURS4(.fragment = 0x0001), .want = PASSED },
	{ "last fragment, furthest", OURS4(.fragment = 0x1fff), .want = PASSED },
	{ "first fragment, other port", V4("192.0.2.1", 53, .fragment = 0x2000), .want = PASSED },
	{ "total above the bytes", OURS4(.ip_delta = 1), .want = PG_DROP_IP_HEADER },
	{ "total above the bytes, fragment", OURS4(.ip_delta = 1, .fragment = 0x2000),
	  .want = PG_DROP_IP_HEADER },
	{ "total 65535", OURS4(.ip_delta = 65535 - 28 - FRAME_BYTES), .want = PG_DROP_IP_HEADER },
	{ "total counts padding", OURS4(.ip_delta = 1, .padding = 1), .want = STEERED },
	{ "total above the padding", OURS4(.ip_delta = 2, .padding = 1),
	  .want = PG_DROP_IP_HEADER },
	{ "total of bare headers", OURS4(.ip_delta = -FRAME_BYTES), .want = PG_DROP_UDP_LENGTH },
	{ "total within the UDP header", OURS4(.ip_delta = -FRAME_BYTES - 1),
	  .want = PG_DROP_IP_HEADER },
	{ "total within the IP header", OURS4(.ip_delta = -FRAME_BYTES - 9),
	  .want = PG_DROP_IP_HEADER },
	{ "total 0", OURS4(.ip_delta = -FRAME_BYTES - 28), .want = PG_DROP_IP_HEADER },
	{ "total within the options", OURS4(.ip_delta = -FRAME_BYTES - 9, .option_bytes = 8),
	  .want = PG_DROP_IP_HEADER },
	{ "lying total, other port", V4("192.0.2.1", 53, .ip_delta = 1), .want = PASSED },
	{ "lying total, other address", V4("192.0.2.2", GUARDED_PORT, .ip_delta = 1),
	  .want = PASSED },
};

static void ipv4_headers(void **state)
{
	judge_rows(*state, ipv4_rows, ARRAY_SIZE(ipv4_rows));
}

/* --- IPv6 --------------------------------------------------------------------------------------
 */

#define HOPOPTS(n)                      \
	{                               \
		IPPROTO_HOPOPTS, (n), 0 \
	}
#define DSTOPTS(n)                      \
	{                               \
		IPPROTO_DSTOPTS, (n), 0 \
	}
#define ROUTING(n)                      \
	{                               \
		IPPROTO_ROUTING, (n), 0 \
	}
#define FRAG(word)                          \
	{                                   \
		IPPROTO_FRAGMENT, 8, (word) \
	}

static const struct path_row ipv6_rows[] = {
	{ "TCP", OURS6(.protocol = IPPROTO_TCP), .want = PASSED },
	{ "ICMPv6", OURS6(.protocol = IPPROTO_ICMPV6), .want = PASSED },
	{ "no next header", OURS6(.protocol = IPPROTO_NONE), .want = PASSED },
	{ "ESP", OURS6(.protocol = IPPROTO_ESP), .want = PASSED },
	{ "AH", OURS6(.protocol = IPPROTO_AH), .want = PASSED },
	{ "other port", V6("2001:db8::1", GUARDED_PORT + 1), .want = PASSED },
	{ "address, lower half", V6("2001:db8::2", GUARDED_PORT), .want = PASSED },
	{ "address, upper half", V6("2001:db9::1", GUARDED_PORT), .want = PASSED },
	{ "the IPv4 endpoint's address, mapped", V6("::ffff:192.0.2.1", GUARDED_PORT),
	  .want = PASSED },
	{ "hop-by-hop", OURS6(.extensions = { HOPOPTS(8) }), .want = STEERED },
	{ "routing", OURS6(.extensions = { ROUTING(24) }), .want = STEERED },
	{ "destination", OURS6(.extensions = { DSTOPTS(8) }), .want = STEERED },
	{ "atomic fragment", OURS6(.extensions = { FRAG(0) }), .want = STEERED },
	{ "one of each", OURS6(.extensions = { HOPOPTS(16), DSTOPTS(8), ROUTING(8), FRAG(0) }),
	  .want = STEERED },
	{ "behind two tags", OURS6(.extensions = { HOPOPTS(8) }, .vlan_tags = 2), .want = STEERED },
	{ "TCP behind options", OURS6(.extensions = { HOPOPTS(8) }, .protocol = IPPROTO_TCP),
	  .want = PASSED },
	{ "six headers",
	  OURS6(.extensions = { HOPOPTS(8), DSTOPTS(8), DSTOPTS(8), DSTOPTS(8), DSTOPTS(8),
				DSTOPTS(8) }),
	  .want = STEERED },
	{ "seven headers",
	  OURS6(.extensions = { HOPOPTS(8), DSTOPTS(8), DSTOPTS(8), DSTOPTS(8), DSTOPTS(8),
				DSTOPTS(8), DSTOPTS(8) }),
	  .want = PASSED },
	/* the payload's offset may be 1023: 14 + 40 + 960 + 8 = 1022 */
	{ "960 bytes of options", OURS6(.extensions = { DSTOPTS(960) }), .want = STEERED },
	{ "968 bytes of options", OURS6(.extensions = { DSTOPTS(968) }), .want = PASSED },
	{ "2048 bytes of options", OURS6(.extensions = { DSTOPTS(2048) }), .want = PASSED },
	{ "first fragment", OURS6(.extensions = { FRAG(1) }), .want = PG_DROP_IP_FRAGMENT },
	{ "first fragment behind options", OURS6(.extensions = { HOPOPTS(8), FRAG(1) }),
	  .want = PG_DROP_IP_FRAGMENT },
	{ "options behind a first fragment", OURS6(.extensions = { FRAG(1), DSTOPTS(8) }),
	  .want = PG_DROP_IP_FRAGMENT },
	{ "second fragment", OURS6(.extensions = { FRAG(8 | 1) }), .want = PASSED },
	{ "last fragment", OURS6(.extensions = { FRAG(8) }), .want = PASSED },
	{ "last fragment, furthest", OURS6(.extensions = { FRAG(0xfff8) }), .want = PASSED },
	{ "reserved fragment bits", OURS6(.extensions = { FRAG(6) }), .want = STEERED },
	{ "first fragment, other port", V6("2001:db8::1", 53, .extensions = { FRAG(1) }),
	  .want = PASSED },
	{ "length above the bytes", OURS6(.ip_delta = 1), .want = PG_DROP_IP_HEADER },
	{ "length above the bytes, fragment", OURS6(.ip_delta = 1, .extensions = { FRAG(1) }),
	  .want = PG_DROP_IP_HEADER },
	{ "length counts padding", OURS6(.ip_delta = 1, .padding = 1), .want = STEERED },
	{ "length of a bare UDP header", OURS6(.ip_delta = -FRAME_BYTES),
	  .want = PG_DROP_UDP_LENGTH },
	{ "length within the UDP header", OURS6(.ip_delta = -FRAME_BYTES - 1),
	  .want = PG_DROP_IP_HEADER },
	{ "length 0", OURS6(.ip_delta = -FRAME_BYTES - 8), .want = PG_DROP_IP_HEADER },
	{ "length within the options",
	  OURS6(.ip_delta = -FRAME_BYTES - 9, .extensions = { HOPOPTS(16) }),
	  .want = PG_DROP_IP_HEADER },
	{ "lying length, other port", V6("2001:db8::1", 53, .ip_delta = 1), .want = PASSED },
};

static void ipv6_headers(void **state)
{
	judge_rows(*state, ipv6_rows, ARRAY_SIZE(ipv6_rows));
}

/* --- UDP ---------------------------------------------------------------------------------------
 */

static const struct path_row udp_rows[] = {
	{ "length one more", OURS4(.udp_delta = 1), .want = PG_DROP_UDP_LENGTH },
	{ "length one more", OURS6(.udp_delta = 1), .want = PG_DROP_UDP_LENGTH },
	{ "length 65535", OURS4(.udp_bytes = 65535), .want = PG_DROP_UDP_LENGTH },
	{ "length 65535", OURS6(.udp_bytes = 65535), .want = PG_DROP_UDP_LENGTH },
	{ "length 7", OURS4(.udp_bytes = 7), .want = PG_DROP_UDP_LENGTH },
	{ "length 7", OURS6(.udp_bytes = 7), .want = PG_DROP_UDP_LENGTH },
	{ "length 0", OURS4(.udp_delta = -FRAME_BYTES - 8), .want = PG_DROP_UDP_LENGTH },
	{ "length 0", OURS6(.udp_delta = -FRAME_BYTES - 8), .want = PG_DROP_UDP_LENGTH },
	{ "length 8", OURS4(.udp_bytes = 8), .want = PG_DROP_FRAME_SHORT },
	{ "length 8", OURS6(.udp_bytes = 8), .want = PG_DROP_FRAME_SHORT },
	{ "length one less", OURS4(.udp_delta = -1), .want = PG_DROP_LENGTH_MISMATCH },
	{ "length one less", OURS6(.udp_delta = -1), .want = PG_DROP_LENGTH_MISMATCH },
	{ "shorter than the IP payload", OURS4(), .want = STEERED, .extra = 5 },
	{ "shorter than the IP payload", OURS6(), .want = STEERED, .extra = 5 },
	{ "right by the padding alone", OURS4(.udp_delta = 3, .padding = 3),
	  .want = PG_DROP_UDP_LENGTH },
	{ "right by the padding alone", OURS6(.udp_delta = 3, .padding = 3),
	  .want = PG_DROP_UDP_LENGTH },
	{ "behind options", OURS4(.udp_delta = 1, .option_bytes = 8), .want = PG_DROP_UDP_LENGTH },
	{ "behind options", OURS6(.udp_delta = 1, .extensions = { HOPOPTS(8) }),
	  .want = PG_DROP_UDP_LENGTH },
	{ "fragment before length", OURS4(.udp_delta = 1, .fragment = 0x2000),
	  .want = PG_DROP_IP_FRAGMENT },
	{ "other port", V4("192.0.2.1", 53, .udp_delta = 1), .want = PASSED },
	{ "other port", V6("2001:db8::1", 53, .udp_delta = 1), .want = PASSED },
};

static void udp_lengths(void **state)
{
	judge_rows(*state, udp_rows, ARRAY_SIZE(udp_rows));
}

/* --- endpoints ---------------------------------------------------------------------------------
 */

#define SHARED_PORT 4100
#define FIRST_INDEX 10

struct shared_endpoint {
	int family;
	const char *address; /* NULL = wildcard */
};

/* A chain of endpoints on one port, each with a session of its own: server ids 1, 2, ... */
static void set_chain(struct gate *gate, const struct shared_endpoint *chain, uint32_t count)
{
	gate_set_port(gate, SHARED_PORT, FIRST_INDEX);
	for (uint32_t i = 0; i < count; i++) {
		struct place place = places[chain[i].family == 6];
		struct pg_endpoint endpoint = {
			.id = 100 + i,
			.family = chain[i].family,
			.port_be = htons(SHARED_PORT),
			.guard = 1,
			.wildcard = !chain[i].address,
			.next = i + 1 < count ? FIRST_INDEX + i + 1 : 0,
		};

		if (chain[i].address)
			parse_address(chain[i].family, chain[i].address,
				      (uint64_t *)endpoint.address);
		gate_set_endpoint(gate, FIRST_INDEX + i, &endpoint);
		place.endpoint = FIRST_INDEX + i;
		place.ids.server = i + 1;
		gate_set_session(gate, &place);
	}
}

/*
 * Sends a frame of every chain session to the address: that of the expected endpoint is steered,
 * the others find no session; without an endpoint (-1) all pass.
 */
static int judge_target(struct gate *gate, int family, const char *address, uint32_t count,
			int expected)
{
	int wrong = 0;

	for (int i = 0; i < (int)count; i++) {
		struct place place = places[family == 6];
		struct frame_spec spec = DATA(1);
		struct frame_bytes frame;
		char name[128];

		place.datagram.target = address;
		place.datagram.target_port = SHARED_PORT;
		place.ids.server = i + 1;
		build_frame(&spec, place.ids, place.key, &frame);
		snprintf(name, sizeof(name), "to %s, session of endpoint %d", address, i);
		wrong += gate_judge_frame(gate, name, &place.datagram, &frame,
					  expected < 0	  ? PASSES
					  : expected == i ? STEERS
							  : DROPS(NO_SESSION));
	}
	return wrong;
}

static void exact_before_wildcard(void **state)
{
	static const struct shared_endpoint chain[] = {
		{ 4, "192.0.2.9" }, { 6, "2001:db8::9" }, { 4, NULL }, { 6, NULL }
	};
	struct gate *gate = *state;
	int wrong = 0;

	set_chain(gate, chain, ARRAY_SIZE(chain));
	gate_add_local(gate, 4, "192.0.2.9");
	gate_add_local(gate, 4, "127.0.0.1");
	gate_add_local(gate, 6, "2001:db8::9");
	gate_add_local(gate, 6, "::1");
	wrong += judge_target(gate, 4, "192.0.2.9", 4, 0);
	wrong += judge_target(gate, 6, "2001:db8::9", 4, 1);
	wrong += judge_target(gate, 4, "127.0.0.1", 4, 2);
	wrong += judge_target(gate, 6, "::1", 4, 3);
	wrong += judge_target(gate, 4, "192.0.2.10", 4, -1); /* routed, not local */
	wrong += judge_target(gate, 6, "2001:db8::10", 4, -1);
	wrong +=
		judge_target(gate, 6, "::ffff:127.0.0.1", 4, 3); /* known as local, IPv6 takes it */
	assert_int_equal(wrong, 0);
}

static void exact_needs_no_local_address(void **state)
{
	static const struct shared_endpoint chain[] = { { 4, "192.0.2.9" } };
	struct gate *gate = *state;

	set_chain(gate, chain, ARRAY_SIZE(chain));
	assert_int_equal(judge_target(gate, 4, "192.0.2.9", 1, 0) +
				 judge_target(gate, 4, "192.0.2.1", 1, -1),
			 0);
}

static void four_on_a_port(void **state)
{
	static const struct shared_endpoint chain[] = { { 4, "192.0.2.11" },
							{ 4, "192.0.2.12" },
							{ 4, "192.0.2.13" },
							{ 4, "192.0.2.14" },
							{ 4, "192.0.2.15" } };
	struct gate *gate = *state;
	int wrong = 0;

	set_chain(gate, chain, ARRAY_SIZE(chain));
	for (int i = 0; i < 4; i++)
		wrong += judge_target(gate, 4, chain[i].address, 5, i);
	wrong += judge_target(gate, 4, chain[4].address, 5, -1); /* beyond the bound of the walk */
	assert_int_equal(wrong, 0);
}

static void wildcards_are_of_one_family(void **state)
{
	static const struct shared_endpoint chain[] = { { 6, NULL } };
	struct gate *gate = *state;

	set_chain(gate, chain, ARRAY_SIZE(chain));
	gate_add_local(gate, 4, "127.0.0.1");
	gate_add_local(gate, 6, "::1");
	assert_int_equal(
		judge_target(gate, 4, "127.0.0.1", 1, -1) + judge_target(gate, 6, "::1", 1, 0), 0);
}

/* IPv4 addresses that all start in one slot of pg_locals. */
static void colliding_addresses(char ret_text[][16], int count)
{
	uint32_t slot = 0;

	for (uint32_t i = 0, found = 0; found < (uint32_t)count; i++) {
		struct in_addr in = { .s_addr = htonl(0x0a000000 | i) };
		uint64_t address[2];
		char text[16];

		assert_true(i < 1u << 24);
		assert_non_null(inet_ntop(AF_INET, &in, text, sizeof(text)));
		parse_address(4, text, address);
		if (!found)
			slot = PG_LOCAL_HASH(address[0], address[1]);
		else if (PG_LOCAL_HASH(address[0], address[1]) != slot)
			continue;
		strcpy(ret_text[found++], text);
	}
}

static void locals_that_collide(void **state)
{
	static const struct shared_endpoint chain[] = { { 4, NULL } };
	char addresses[PG_LOCALS_PROBES + 1][16];
	struct gate *gate = *state;
	int wrong = 0;

	colliding_addresses(addresses, PG_LOCALS_PROBES + 1);
	set_chain(gate, chain, ARRAY_SIZE(chain));
	for (int i = 0; i < PG_LOCALS_PROBES; i++) {
		wrong += judge_target(gate, 4, addresses[i], 1, -1);
		gate_add_local(gate, 4, addresses[i]);
		wrong += judge_target(gate, 4, addresses[i], 1, 0);
	}
	wrong += judge_target(gate, 4, addresses[PG_LOCALS_PROBES], 1, -1);
	assert_int_equal(wrong, 0);
}

/* An index that the array does not have ends the walk; nothing is taken on a guess. */
static void chain_out_of_range(void **state)
{
	static const struct shared_endpoint chain[] = { { 4, "192.0.2.9" } };
	struct gate *gate = *state;
	struct pg_endpoint endpoint;
	int wrong = 0;

	set_chain(gate, chain, ARRAY_SIZE(chain));
	endpoint = gate_endpoint(gate, FIRST_INDEX);
	endpoint.next = PG_ENDPOINTS_MAX;
	gate_set_endpoint(gate, FIRST_INDEX, &endpoint);
	wrong += judge_target(gate, 4, "192.0.2.9", 1, 0);
	wrong += judge_target(gate, 4, "192.0.2.10", 1, -1);
	gate_set_port(gate, SHARED_PORT, 0xffffffff);
	wrong += judge_target(gate, 4, "192.0.2.9", 1, -1);
	assert_int_equal(wrong, 0);
}

/* --- the straight line beside the walk ---------------------------------------------------------
 */

#define AGREEMENTS 1500
#define HEADERS_AT 12 /* EtherType, IPv4 header, UDP header */
#define HEADERS	   (2 + 20 + 8)

/* What one run did: the action, and the counter that it moved (of the last, if several). */
struct outcome {
	int action;
	int counter;
	uint32_t moved;
};

static struct outcome run_outcome(struct gate *gate, const struct link_frame *frame)
{
	static struct gate_state before, after;
	struct outcome outcome = { .counter = -1 };

	gate_save_counters(gate, &before);
	outcome.action = gate_run_on(gate, frame, NULL);
	gate_save_counters(gate, &after);
	for (int i = 0; i < COUNTERS; i++) {
		if (before.counters[i].packets == after.counters[i].packets)
			continue;
		outcome.counter = i;
		outcome.moved += after.counters[i].packets - before.counters[i].packets;
	}
	return outcome;
}

/* A tag sends a datagram through the general walk, which is then 4 bytes further on. */
static void tag_frame(const struct link_frame *frame, struct link_frame *ret_tagged)
{
	static const uint8_t tag[VLAN_BYTES] = { 0x81, 0, 0, 7 };

	memcpy(ret_tagged->bytes, frame->bytes, HEADERS_AT);
	memcpy(ret_tagged->bytes + HEADERS_AT, tag, sizeof(tag));
	memcpy(ret_tagged->bytes + HEADERS_AT + sizeof(tag), frame->bytes + HEADERS_AT,
	       frame->n - HEADERS_AT);
	ret_tagged->n = frame->n + sizeof(tag);
}

/* Up to three bytes of the headers are changed, and at times the frame ends early. */
static void spoil_headers(struct noise *noise, struct link_frame *frame)
{
	for (uint32_t i = noise_below(noise, 4); i; i--) {
		uint8_t *at = frame->bytes + HEADERS_AT + noise_below(noise, HEADERS);

		switch (noise_below(noise, 3)) {
		case 0:
			*at = noise_word(noise);
			break;
		case 1:
			*at ^= 1 << noise_below(noise, 8);
			break;
		default:
			*at += noise_below(noise, 2) ? 1 : -1;
			break;
		}
	}
	if (!noise_below(noise, 4))
		frame->n = 14 + noise_below(noise, frame->n - 13);
}

/* What the straight line reads of plain IPv4 is what the walk reads, whatever the headers say. */
static void straight_line_agrees(void **state)
{
	struct noise noise = noise_start("straight line");
	struct gate *gate = *state;
	uint32_t actions[XDP_REDIRECT + 1] = { 0 };

	for (int i = 0; i < AGREEMENTS; i++) {
		struct link_frame frame, tagged;
		struct frame_spec spec = DATA(1);
		struct frame_bytes payload;
		struct outcome straight, walked;

		build_frame(&spec, places[0].ids, places[0].key, &payload);
		build_datagram(&places[0].datagram, payload.bytes, payload.n, &frame);
		spoil_headers(&noise, &frame);
		tag_frame(&frame, &tagged);
		straight = run_outcome(gate, &frame);
		walked = run_outcome(gate, &tagged);
		assert_memory_equal(&straight, &walked, sizeof(straight));
		assert_int_equal(straight.moved, 1);
		assert_in_range(straight.action, 0, XDP_REDIRECT);
		actions[straight.action]++;
	}
	/* every kind of end was among them */
	assert_in_range(actions[XDP_PASS], 50, AGREEMENTS);
	assert_in_range(actions[XDP_DROP], 50, AGREEMENTS);
	assert_in_range(actions[XDP_REDIRECT], 50, AGREEMENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(link_headers),	  gate_test(ipv4_headers),
		gate_test(ipv6_headers),	  gate_test(udp_lengths),
		gate_test(exact_before_wildcard), gate_test(exact_needs_no_local_address),
		gate_test(four_on_a_port),	  gate_test(wildcards_are_of_one_family),
		gate_test(locals_that_collide),	  gate_test(chain_out_of_range),
		gate_test(straight_line_agrees),
	};

	return cmocka_run_group_tests(tests, gate_group_setup, gate_group_teardown);
}
