// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "packet.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- a naive reader and writer of packets --------------------------------------------------------
 */

struct bytes {
	uint8_t data[4096];
	uint32_t count;
};

static void add(struct bytes *b, uint64_t value, int width)
{
	while (width--)
		b->data[b->count++] = value >> (8 * width);
}

static uint64_t get(const uint8_t *at, int width)
{
	uint64_t value = 0;

	while (width--)
		value = value << 8 | *at++;
	return value;
}

/* RFC 1071, a byte pair at a time. */
static uint16_t naive_checksum(const uint8_t *data, uint32_t count, uint32_t sum)
{
	for (uint32_t i = 0; i < count; i++) {
		sum += i % 2 ? data[i] : data[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return ~sum & 0xffff;
}

static uint32_t pseudo_sum(const uint8_t *addresses, uint32_t count, uint32_t udp_bytes)
{
	return (uint16_t)~naive_checksum(addresses, count, 0) + udp_bytes + 17;
}

static const uint8_t local_mac[6] = { 2, 0, 0, 0, 0, 1 }, peer_mac[6] = { 2, 0, 0, 0, 0, 2 };
static const uint8_t local_v6[16] = { 0xfd, 1, [15] = 1 }, peer_v6[16] = { 0xfd, 2, [15] = 2 };

struct shape {
	const char *name;
	int family, tags;
	uint32_t options;      /* bytes of IPv4 options */
	uint8_t extensions[4]; /* IPv6 extension headers, 0xff = hop by hop, 0 = end */
	uint32_t padding;      /* behind the IP datagram, as Ethernet pads */
	bool parsed;
};

static void link_header(struct bytes *b, const struct shape *shape)
{
	memcpy(b->data, local_mac, 6);
	memcpy(b->data + 6, peer_mac, 6);
	b->count = 12;
	for (int i = 0; i < shape->tags; i++)
		add(b, i || shape->tags == 1 ? 0x81000064 : 0x88a80065, 4);
	add(b, shape->family == 4 ? 0x0800 : 0x86dd, 2);
}

static void udp_header(struct bytes *b, uint32_t payload)
{
	add(b, 5555, 2);
	add(b, 4000, 2);
	add(b, payload + 8, 2);
	add(b, 0, 2);
	for (uint32_t i = 0; i < payload; i++)
		add(b, i, 1);
}

static uint8_t protocol_of(uint8_t extension)
{
	return extension == 0xff ? 0 : extension ? extension : 17;
}

static void build(struct bytes *b, const struct shape *shape, uint32_t payload)
{
	uint32_t extensions = 0;

	link_header(b, shape);
	if (shape->family == 4) {
		add(b, 0x45 + shape->options / 4, 1);
		add(b, 0, 1);
		add(b, 20 + shape->options + 8 + payload, 2);
		add(b, 0x12344000, 4);
		add(b, 0x4011, 2);
		add(b, 0, 2);
		add(b, 0xc0000207, 4);
		add(b, 0xc0000201, 4);
		for (uint32_t i = 0; i < shape->options; i++)
			add(b, 1, 1);
	} else {
		while (shape->extensions[extensions])
			extensions++;
		add(b, 0x60000000, 4);
		add(b, extensions * 16 + 8 + payload, 2);
		add(b, protocol_of(shape->extensions[0]), 1);
		add(b, 64, 1);
		memcpy(b->data + b->count, peer_v6, 16);
		memcpy(b->data + b->count + 16, local_v6, 16);
		b->count += 32;
		for (uint32_t i = 0; i < extensions; i++) {
			bool fragment = shape->extensions[i] == 44;

			add(b, protocol_of(shape->extensions[i + 1]), 1);
			add(b, fragment ? 0 : 1, 1);
			/* a fragment header has 8 bytes: an option header fills the rest */
			for (int k = 0; k < (fragment ? 6 : 14); k++)
				add(b, 0, 1);
			if (fragment) {
				b->data[b->count - 8] = 60;
				add(b, protocol_of(shape->extensions[i + 1]), 1);
				add(b, 0, 7);
			}
		}
	}
	udp_header(b, payload);
	for (uint32_t i = 0; i < shape->padding; i++)
		add(b, 0, 1);
}

static const struct shape shapes[] = {
	{ "IPv4", 4, 0, 0, { 0 }, 0, true },
	{ "IPv4, one tag", 4, 1, 0, { 0 }, 0, true },
	{ "IPv4, two tags", 4, 2, 0, { 0 }, 0, true },
	{ "IPv4, three tags", 4, 3, 0, { 0 }, 0, false },
	{ "IPv4, options", 4, 0, 4, { 0 }, 0, true },
	{ "IPv4, all options, tags, padding", 4, 2, 40, { 0 }, 9, true },
	{ "IPv4, padding", 4, 0, 0, { 0 }, 18, true },
	{ "IPv6", 6, 0, 0, { 0 }, 0, true },
	{ "IPv6, two tags, padding", 6, 2, 0, { 0 }, 3, true },
	{ "IPv6, hop by hop", 6, 0, 0, { 0xff }, 0, true },
	{ "IPv6, destination options and routing", 6, 1, 0, { 60, 43 }, 0, true },
	{ "IPv6, an atomic fragment", 6, 0, 0, { 44 }, 0, true },
	{ "IPv6, TCP behind an extension", 6, 0, 0, { 60, 6 }, 0, false },
	{ "IPv6, an unknown extension", 6, 0, 0, { 99 }, 0, false },
};

/* The frame in memory of exactly its size, so that a byte read too far is seen. */
static uint8_t *exact(const struct bytes *b, uint32_t count)
{
	uint8_t *copy = malloc(count ? count : 1);

	assert_non_null(copy);
	memcpy(copy, b->data, count);
	return copy;
}

static void test_parse(void **state)
{
	static const uint32_t payloads[] = { 0, 1, 100, 1173, 2048 };

	for (size_t i = 0; i < COUNT(shapes); i++)
		for (size_t p = 0; p < COUNT(payloads); p++) {
			struct bytes b = { .count = 0 };
			struct pg_packet packet;
			uint8_t *frame;

			build(&b, &shapes[i], payloads[p]);
			frame = exact(&b, b.count);
			if (pg_packet_parse(frame, b.count, &packet) != shapes[i].parsed)
				fail_msg("%s", shapes[i].name);
			if (shapes[i].parsed) {
				assert_int_equal(packet.family, shapes[i].family);
				assert_int_equal(packet.link_bytes, 14 + 4 * shapes[i].tags);
				assert_int_equal(packet.payload_bytes, payloads[p]);
				for (uint32_t k = 0; k < payloads[p]; k++)
					assert_int_equal(packet.payload[k], k & 0xff);
				assert_int_equal(get((uint8_t *)&packet.source_port_be, 2), 5555);
				assert_int_equal(get((uint8_t *)&packet.target_port_be, 2), 4000);
				if (shapes[i].family == 6) {
					assert_memory_equal(packet.source, peer_v6, 16);
					assert_memory_equal(packet.target, local_v6, 16);
				} else {
					assert_memory_equal(packet.source,
							    "\0\0\0\0\0\0\0\0\0\0\xff\xff"
							    "\xc0\0\2\7",
							    16);
					assert_memory_equal((uint8_t *)packet.target + 10,
							    "\xff\xff\xc0\0\2\1", 6);
				}
			}
			free(frame);
		}
}

/* Cut at every byte: never a packet, never a byte read behind the end (ASan looks). */
static void test_truncated(void **state)
{
	for (size_t i = 0; i < COUNT(shapes); i++) {
		struct bytes b = { .count = 0 };
		struct pg_packet packet;

		build(&b, &shapes[i], 20);
		for (uint32_t cut = 0; cut < b.count; cut++) {
			bool whole = shapes[i].parsed && cut >= b.count - shapes[i].padding;
			uint8_t *frame = exact(&b, cut);

			if (pg_packet_parse(frame, cut, &packet) != whole)
				fail_msg("%s, %u of %u bytes", shapes[i].name, cut, b.count);
			free(frame);
		}
	}
}

/* The same with an IP length that admits it: what is missing is the UDP header's, or before it. */
static void test_truncated_honestly(void **state)
{
	for (size_t i = 0; i < COUNT(shapes); i++) {
		uint32_t ip = 14 + 4 * shapes[i].tags;
		struct bytes b = { .count = 0 };
		struct pg_packet packet;

		build(&b, &shapes[i], 20);
		b.count -= shapes[i].padding;
		for (uint32_t cut = ip + (shapes[i].family == 4 ? 20 : 40); cut < b.count; cut++) {
			bool v4 = shapes[i].family == 4;
			uint32_t length = v4 ? cut - ip : cut - ip - 40;
			uint8_t *frame = exact(&b, cut);

			frame[ip + (v4 ? 2 : 4)] = length >> 8;
			frame[ip + (v4 ? 3 : 5)] = length;
			if (pg_packet_parse(frame, cut, &packet))
				fail_msg("%s, %u of %u bytes", shapes[i].name, cut, b.count);
			free(frame);
		}
	}
}

/* Lengths that lie, one field at a time, and every other value of every header byte. */
static void test_lies(void **state)
{
	static const struct {
		const char *name;
		int family;
		uint32_t at; /* from the start of the IP header */
		uint16_t value;
		bool parsed;
	} rows[] = {
		{ "IPv4 total, one too long", 4, 2, 20 + 8 + 21, false },
		{ "IPv4 total, shorter than UDP says", 4, 2, 20 + 8 + 19, false },
		{ "IPv4 total, only the header", 4, 2, 20, false },
		{ "IPv4 total 0", 4, 2, 0, false },
		{ "UDP length, one too long", 4, 24, 29, false },
		{ "UDP length, shorter", 4, 24, 27, true },
		{ "UDP length 8", 4, 24, 8, true },
		{ "UDP length 7", 4, 24, 7, false },
		{ "UDP length 0", 4, 24, 0, false },
		{ "IPv6 payload, one too long", 6, 4, 29, false },
		{ "IPv6 payload, shorter", 6, 4, 27, false },
		{ "IPv6 payload 0", 6, 4, 0, false },
		{ "IPv6 UDP length, one too long", 6, 44, 29, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct shape shape = { .family = rows[i].family };
		struct bytes b = { .count = 0 };
		struct pg_packet packet;
		uint8_t *frame;

		build(&b, &shape, 20);
		b.data[14 + rows[i].at] = rows[i].value >> 8;
		b.data[14 + rows[i].at + 1] = rows[i].value;
		frame = exact(&b, b.count);
		if (pg_packet_parse(frame, b.count, &packet) != rows[i].parsed)
			fail_msg("%s", rows[i].name);
		free(frame);
	}
	for (size_t i = 0; i < COUNT(shapes); i++)
		for (uint32_t at = 12; at < 90; at++)
			for (uint32_t value = 0; value < 256; value++) {
				struct bytes b = { .count = 0 };
				struct pg_packet packet;
				uint8_t *frame;

				build(&b, &shapes[i], 4);
				if (at >= b.count)
					break;
				b.data[at] = value;
				frame = exact(&b, b.count);
				if (pg_packet_parse(frame, b.count, &packet)) {
					assert_true(packet.payload >= frame);
					assert_true(packet.payload + packet.payload_bytes <=
						    frame + b.count);
				}
				free(frame);
			}
}

static void check_ipv4(const uint8_t *ip, uint32_t payload)
{
	uint32_t pseudo = pseudo_sum(ip + 12, 8, payload + 8);

	assert_int_equal(ip[0], 0x45);
	assert_int_equal(get(ip + 2, 2), 28 + payload);
	assert_int_equal(get(ip + 6, 2), 0x4000);
	assert_int_equal(ip[9], 17);
	assert_int_equal(get(ip + 12, 4), 0xc0000201);
	assert_int_equal(get(ip + 16, 4), 0xc0000207);
	assert_int_equal(naive_checksum(ip, 20, 0), 0);
	assert_int_not_equal(get(ip + 26, 2), 0);
	assert_int_equal(naive_checksum(ip + 20, payload + 8, pseudo), 0);
}

static void check_ipv6(const uint8_t *ip, uint32_t payload)
{
	uint32_t pseudo = pseudo_sum(ip + 8, 32, payload + 8);

	assert_int_equal(get(ip, 4), 0x60000000);
	assert_int_equal(get(ip + 4, 2), payload + 8);
	assert_int_equal(ip[6], 17);
	assert_memory_equal(ip + 8, local_v6, 16);
	assert_memory_equal(ip + 24, peer_v6, 16);
	assert_int_not_equal(get(ip + 46, 2), 0);
	assert_int_equal(naive_checksum(ip + 40, payload + 8, pseudo), 0);
}

/* The answer to a parsed frame goes back whence it came, with right checksums. */
static void test_round_trip(void **state)
{
	for (size_t i = 0; i < COUNT(shapes); i++) {
		if (!shapes[i].parsed)
			continue;
		for (uint32_t payload = 0; payload < 2049; payload += payload < 40 ? 1 : 251) {
			uint8_t *room = malloc(PG_PACKET_HEADER_MAX + payload), *start;
			uint8_t *text = room + PG_PACKET_HEADER_MAX;
			struct pg_packet packet, again;
			struct bytes b = { .count = 0 };
			struct pg_route route;
			uint32_t ip_bytes = shapes[i].family == 4 ? 20 : 40, link;

			assert_non_null(room);
			build(&b, &shapes[i], 5);
			assert_true(pg_packet_parse(b.data, b.count, &packet));
			pg_route_from_packet(&packet, b.data, 3, &route);
			assert_int_equal(route.ifindex, 3);
			for (uint32_t k = 0; k < payload; k++)
				text[k] = k * 7 + payload;
			start = pg_packet_finish(text, payload, &route, packet.source,
						 packet.source_port_be);
			link = packet.link_bytes;
			assert_int_equal(text - start, link + ip_bytes + 8);
			assert_memory_equal(start, peer_mac, 6);
			assert_memory_equal(start + 6, local_mac, 6);
			assert_memory_equal(start + 12, b.data + 12, link - 12);
			if (shapes[i].family == 4)
				check_ipv4(start + link, payload);
			else
				check_ipv6(start + link, payload);
			assert_true(pg_packet_parse(start, text + payload - start, &again));
			assert_ptr_equal(again.payload, text);
			assert_int_equal(again.payload_bytes, payload);
			assert_memory_equal(again.source, packet.target, 16);
			assert_memory_equal(again.target, packet.source, 16);
			assert_int_equal(again.source_port_be, packet.target_port_be);
			assert_int_equal(again.target_port_be, packet.source_port_be);
			for (uint32_t k = 0; k < payload; k++)
				assert_int_equal(text[k], (uint8_t)(k * 7 + payload));
			free(room);
		}
	}
}

/* A checksum that comes to 0 is sent as 0xffff. */
static void test_checksum_zero(void **state)
{
	struct shape shape = { .family = 4 };
	struct bytes b = { .count = 0 };
	struct pg_packet packet;
	struct pg_route route;
	uint8_t room[PG_PACKET_HEADER_MAX + 2];
	uint32_t zeros = 0;

	build(&b, &shape, 5);
	assert_true(pg_packet_parse(b.data, b.count, &packet));
	pg_route_from_packet(&packet, b.data, 3, &route);
	for (uint32_t value = 0; value < 65536; value++) {
		uint8_t *ip, *text = room + PG_PACKET_HEADER_MAX;

		text[0] = value >> 8;
		text[1] = value;
		ip = pg_packet_finish(text, 2, &route, packet.source, packet.source_port_be) + 14;
		assert_int_not_equal(get(ip + 26, 2), 0);
		zeros += get(ip + 26, 2) == 0xffff;
		assert_int_equal(naive_checksum(ip + 20, 10, pseudo_sum(ip + 12, 8, 10)), 0);
	}
	assert_in_range(zeros, 1, 2);
}

static void test_other_protocols(void **state)
{
	static const uint16_t types[] = { 0x0806, 0x88cc, 0x0000, 0xffff, 0x0801 };

	for (size_t i = 0; i < COUNT(types); i++) {
		struct shape shape = { .family = 4 };
		struct bytes b = { .count = 0 };
		struct pg_packet packet;

		build(&b, &shape, 5);
		b.data[12] = types[i] >> 8;
		b.data[13] = types[i];
		assert_false(pg_packet_parse(b.data, b.count, &packet));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_truncated_honestly),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_checksum_zero),
		cmocka_unit_test(test_other_protocols),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
