// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "connections.h"
#include "packgate/message.h"
#include "message_streams.h"
#include "reassembly.h"
#include "secrets.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* --- fragments ---------------------------------------------------------------------------------
 */

static uint8_t datagram[65536];

struct piece {
	uint32_t offset, bytes;
	bool more;
};

/* Adds a piece of `datagram`; whether it completes one. */
static bool add(struct pg_reassembly *reassembly, uint32_t id, uint64_t now_ns, struct piece piece,
		struct pg_decoded *decoded, struct pg_span *ret_text)
{
	memset(decoded, 0, sizeof(*decoded));
	decoded->time_ns = now_ns;
	decoded->ip.version = 4;
	decoded->ip.protocol = 17;
	decoded->ip.id = id;
	decoded->ip.fragment = true;
	decoded->ip.more_fragments = piece.more;
	decoded->ip.fragment_offset = piece.offset;
	*ret_text = (struct pg_span){ datagram + piece.offset, piece.bytes, piece.bytes };
	return pg_reassembly_add(reassembly, decoded, ret_text);
}

#define PIECES_MAX 5

static const struct reassembly_row {
	const char *name;
	struct piece pieces[PIECES_MAX];
	uint32_t count;
	uint32_t total;	  /* bytes of the datagram that the last piece completes, 0 = none */
	uint32_t faults;  /* of the last piece */
	uint32_t counted; /* fragments */
} reassembly_rows[] = {
	{ "in order", { { 0, 16, true }, { 16, 8, true }, { 24, 5, false } }, 3, 29, 0, 3 },
	{ "backwards", { { 24, 5, false }, { 16, 8, true }, { 0, 16, true } }, 3, 29, 0, 3 },
	{ "a gap", { { 0, 16, true }, { 24, 5, false } }, 2, 0, 0, 0 },
	{ "a duplicate",
	  { { 0, 16, true }, { 0, 16, true }, { 16, 8, true }, { 24, 5, false } },
	  4,
	  29,
	  0,
	  3 },
	{ "largest", { { 0, 65528, true }, { 65528, 7, false } }, 2, 65535, 0, 2 },
	{ "one byte too many",
	  { { 0, 65528, true }, { 65528, 8, false } },
	  2,
	  0,
	  1u << PG_FAULT_FRAGMENT_END,
	  0 },
	{ "overlap by a unit",
	  { { 0, 16, true }, { 8, 16, true } },
	  2,
	  0,
	  1u << PG_FAULT_FRAGMENT_OVERLAP,
	  0 },
	{ "two ends",
	  { { 24, 8, false }, { 16, 8, false } },
	  2,
	  0,
	  1u << PG_FAULT_FRAGMENT_OVERLAP,
	  0 },
	{ "past the end",
	  { { 24, 8, false }, { 32, 8, true } },
	  2,
	  0,
	  1u << PG_FAULT_FRAGMENT_OVERLAP,
	  0 },
	{ "end before what is here",
	  { { 32, 8, true }, { 24, 8, false } },
	  2,
	  0,
	  1u << PG_FAULT_FRAGMENT_OVERLAP,
	  0 },
	{ "no multiple of 8", { { 0, 15, true } }, 1, 0, 1u << PG_FAULT_FRAGMENT_SIZE, 0 },
	{ "empty", { { 0, 0, true } }, 1, 0, 1u << PG_FAULT_FRAGMENT_SIZE, 0 },
	{ "empty end", { { 8, 0, false } }, 1, 0, 0, 0 },
};

static void reassembly(void **state)
{
	for (size_t i = 0; i < sizeof(datagram); i++)
		datagram[i] = (uint8_t)(i * 7 + (i >> 8));
	for (size_t i = 0; i < ARRAY_SIZE(reassembly_rows); i++) {
		const struct reassembly_row *row = &reassembly_rows[i];
		struct pg_reassembly *all = NULL;
		struct pg_decoded decoded;
		struct pg_span text;
		bool done = false;

		assert_int_equal(pg_reassembly_new(&all), 0);
		for (uint32_t n = 0; n < row->count; n++) {
			assert_false(done);
			done = add(all, 1, 1, row->pieces[n], &decoded, &text);
		}
		if (done != (row->total > 0) || decoded.faults != row->faults ||
		    decoded.reassembled_bytes != row->total ||
		    decoded.reassembled_fragments != row->counted)
			fail_msg("%s: done %d, faults %x, %u bytes, %u fragments", row->name, done,
				 decoded.faults, decoded.reassembled_bytes,
				 decoded.reassembled_fragments);
		if (done) {
			assert_int_equal(text.length, row->total);
			assert_memory_equal(text.at, datagram, row->total);
		}
		pg_reassembly_free(all);
	}
}

static void changed_duplicate(void **state)
{
	struct pg_reassembly *all = NULL;
	struct pg_decoded decoded;
	struct pg_span text;

	assert_int_equal(pg_reassembly_new(&all), 0);
	add(all, 1, 1, (struct piece){ 0, 16, true }, &decoded, &text);
	datagram[3] ^= 1;
	add(all, 1, 1, (struct piece){ 0, 16, true }, &decoded, &text);
	datagram[3] ^= 1;
	assert_int_equal(decoded.faults, 1u << PG_FAULT_FRAGMENT_OVERLAP);
	assert_int_equal(pg_reassembly_given_up(all), 1);
	pg_reassembly_free(all);
}

/* The oldest gives way, and the others stay whole. */
static void reassembly_bound(void **state)
{
	struct pg_reassembly *all = NULL;
	struct pg_decoded decoded;
	struct pg_span text;

	assert_int_equal(pg_reassembly_new(&all), 0);
	for (uint32_t id = 0; id <= PG_REASSEMBLIES_MAX; id++)
		assert_false(add(all, id, 1, (struct piece){ 0, 16, true }, &decoded, &text));
	assert_int_equal(pg_reassembly_given_up(all), 1);
	for (uint32_t id = 1; id <= PG_REASSEMBLIES_MAX; id++)
		assert_true(add(all, id, 1, (struct piece){ 16, 4, false }, &decoded, &text));
	assert_false(add(all, 0, 1, (struct piece){ 16, 4, false }, &decoded, &text));
	assert_int_equal(pg_reassembly_given_up(all), 1);
	pg_reassembly_free(all);
}

static void reassembly_time(void **state)
{
	static const struct {
		uint64_t later_ns;
		bool whole;
	} rows[] = { { 0, true }, { PG_REASSEMBLY_NS, true }, { PG_REASSEMBLY_NS + 1, false } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pg_reassembly *all = NULL;
		struct pg_decoded decoded;
		struct pg_span text;

		assert_int_equal(pg_reassembly_new(&all), 0);
		add(all, 1, 5, (struct piece){ 0, 16, true }, &decoded, &text);
		assert_int_equal(add(all, 1, 5 + rows[i].later_ns, (struct piece){ 16, 4, false },
				     &decoded, &text),
				 rows[i].whole);
		assert_int_equal(pg_reassembly_given_up(all), !rows[i].whole);
		pg_reassembly_free(all);
	}
}

/* --- connections -------------------------------------------------------------------------------
 */

static const uint8_t scale_7[] = { 7 }, scale_15[] = { 15 }, scale_2[] = { 2 };

struct step {
	bool back; /* from the server */
	uint16_t flags;
	uint32_t seq, ack;
	const uint8_t *scale; /* NULL: no option */
	uint32_t seq_relative, ack_relative;
	int8_t shift;
};

#define SYN    PG_TCP_SYN
#define ACK    PG_TCP_ACK
#define SYNACK (PG_TCP_SYN | PG_TCP_ACK)

static const struct connection_row {
	const char *name;
	struct step steps[6];
	uint32_t count;
} connection_rows[] = {
	{ "handshake with scales",
	  { { false, SYN, 1000, 0, scale_7, 0, 0, 0 },
	    { true, SYNACK, 5000, 1001, scale_2, 0, 1, 0 },
	    { false, ACK, 1001, 5001, NULL, 1, 1, 7 },
	    { true, ACK, 5001, 1001, NULL, 1, 1, 2 } },
	  4 },
	{ "only one side offers a scale",
	  { { false, SYN, 1, 0, scale_7, 0, 0, 0 },
	    { true, SYNACK, 2, 2, NULL, 0, 1, 0 },
	    { false, ACK, 2, 3, NULL, 1, 1, 0 } },
	  3 },
	{ "a scale above 14 is 14",
	  { { false, SYN, 1, 0, scale_15, 0, 0, 0 },
	    { true, SYNACK, 2, 2, scale_2, 0, 1, 0 },
	    { false, ACK, 2, 3, NULL, 1, 1, 14 } },
	  3 },
	{ "numbers wrap",
	  { { false, SYN, 0xfffffffe, 0, NULL, 0, 0, 0 },
	    { true, SYNACK, 0xffffffff, 0xffffffff, NULL, 0, 1, 0 },
	    { false, ACK, 4, 0, NULL, 6, 1, 0 } },
	  3 },
	{ "the capture begins in the midst",
	  { { false, ACK, 700, 900, NULL, 1, 1, -1 },
	    { true, ACK, 900, 705, NULL, 1, 6, -1 },
	    { false, ACK, 705, 901, NULL, 6, 2, -1 } },
	  3 },
	{ "a SYN sent again",
	  { { false, SYN, 10, 0, NULL, 0, 0, 0 },
	    { false, SYN, 10, 0, NULL, 0, 0, 0 },
	    { true, SYNACK, 20, 11, NULL, 0, 1, 0 } },
	  3 },
	{ "the ports serve a new connection",
	  { { false, SYN, 10, 0, scale_7, 0, 0, 0 },
	    { true, SYNACK, 20, 11, scale_7, 0, 1, 0 },
	    { false, SYN, 5000, 0, NULL, 0, 0, 0 },
	    { true, SYNACK, 7000, 5001, scale_7, 0, 1, 0 },
	    { false, ACK, 5001, 7001, NULL, 1, 1, 0 } },
	  5 },
	{ "a reset without ACK", { { false, PG_TCP_RST, 77, 123, NULL, 1, 0, -1 } }, 1 },
};

static void take(struct pg_connections *connections, const struct step *step, uint16_t port,
		 struct pg_decoded *decoded)
{
	struct pg_decoded_tcp *tcp = &decoded->tcp;
	static uint64_t number;

	memset(decoded, 0, sizeof(*decoded));
	decoded->number = ++number;
	decoded->ip.version = 4;
	decoded->ip.source[0] = step->back ? 2 : 1;
	decoded->ip.target[0] = step->back ? 1 : 2;
	tcp->source_port = step->back ? 80 : port;
	tcp->target_port = step->back ? port : 80;
	tcp->flags = step->flags;
	tcp->seq = step->seq;
	tcp->ack = step->ack;
	if (step->scale)
		tcp->options[tcp->option_count++] =
			(struct pg_option){ PG_TCP_OPTION_SCALE, 1, true, step->scale };
	pg_connections_segment(connections, decoded);
}

static void relative_numbers(void **state)
{
	const uint64_t key[2] = { 1, 2 };

	for (size_t i = 0; i < ARRAY_SIZE(connection_rows); i++) {
		const struct connection_row *row = &connection_rows[i];
		struct pg_connections *connections = NULL;
		struct pg_decoded decoded;

		assert_int_equal(pg_connections_new(key, &connections), 0);
		for (uint32_t n = 0; n < row->count; n++) {
			const struct step *step = &row->steps[n];

			take(connections, step, 1234, &decoded);
			if (!decoded.tcp.has_relative ||
			    decoded.tcp.seq_relative != step->seq_relative ||
			    decoded.tcp.ack_relative != step->ack_relative ||
			    decoded.tcp.window_shift != step->shift)
				fail_msg("%s, step %u: seq %u, ack %u, shift %d", row->name, n,
					 decoded.tcp.seq_relative, decoded.tcp.ack_relative,
					 decoded.tcp.window_shift);
		}
		pg_connections_free(connections);
	}
}

/* At the bound connections are forgotten, counted, and the newest still has its numbers. */
static void connections_bound(void **state)
{
	const uint64_t key[2] = { 3, 4 };
	struct pg_connections *connections = NULL;
	struct pg_decoded decoded;

	assert_int_equal(pg_connections_new(key, &connections), 0);
	for (uint32_t port = 0; port < 65536; port++)
		take(connections, &(struct step){ .flags = SYN, .seq = port }, (uint16_t)port,
		     &decoded);
	assert_true(pg_connections_forgotten(connections) >= 65536 - PG_CONNECTIONS_MAX);
	take(connections, &(struct step){ .flags = ACK, .seq = 65535 + 9 }, 65535, &decoded);
	assert_int_equal(decoded.tcp.seq_relative, 9);
	pg_connections_free(connections);
}

/* --- messages in TCP ---------------------------------------------------------------------------
 */

/* Id 1 without body, Id 7 with 20 bytes, Id 2 without body: 8, 28 and 8 bytes. */
static uint8_t wire[44];
#define WIRE_SEQ 0xfffffff0u /* of the first byte: the stream wraps */

static void make_wire(void)
{
	static const uint8_t body[20] = "twenty bytes of body";
	int n = pg_message_write(wire, sizeof(wire), 1, "", 0);

	n += pg_message_write(wire + n, sizeof(wire) - n, 7, body, sizeof(body));
	n += pg_message_write(wire + n, sizeof(wire) - n, 2, "", 0);
	assert_int_equal(n, sizeof(wire));
}

struct part {
	uint16_t flags;
	uint32_t from, to; /* bytes of wire */
	uint32_t missing;  /* bytes at the end that the capture lost */
	uint32_t count;	   /* messages that it completes */
	int malformed;
	bool unread;
};

static const struct message_row {
	const char *name;
	struct part parts[6];
	uint32_t parts_count;
} message_rows[] = {
	{ "in one segment", { { SYN, 0, 0, 0, 0, 0, false }, { ACK, 0, 44, 0, 3, 0, false } }, 2 },
	{ "split",
	  { { SYN, 0, 0, 0, 0, 0, false },
	    { ACK, 0, 7, 0, 0, 0, false },
	    { ACK, 7, 9, 0, 1, 0, false },
	    { ACK, 9, 43, 0, 1, 0, false },
	    { ACK | PG_TCP_FIN, 43, 44, 0, 1, 0, false } },
	  5 },
	{ "out of order, overlapping, repeated",
	  { { SYN, 0, 0, 0, 0, 0, false },
	    { ACK, 20, 44, 0, 0, 0, false },
	    { ACK, 8, 20, 0, 0, 0, false },
	    { ACK, 0, 12, 0, 3, 0, false },
	    { ACK, 0, 12, 0, 0, 0, false } },
	  5 },
	{ "no SYN", { { ACK, 0, 44, 0, 0, 0, true } }, 1 },
	{ "bytes lost by the capture",
	  { { SYN, 0, 0, 0, 0, 0, false },
	    { ACK, 0, 12, 4, 0, 0, true },
	    { ACK, 12, 44, 0, 0, 0, true } },
	  3 },
	{ "ends in a message",
	  { { SYN, 0, 0, 0, 0, 0, false },
	    { ACK | PG_TCP_FIN, 0, 12, 0, 1, PG_MALFORMED_TRUNCATED, false } },
	  2 },
	{ "malformed, and not read on",
	  { { SYN, 0, 0, 0, 0, 0, false },
	    { ACK, 1, 9, 0, 0, PG_MALFORMED_TAG, false },
	    { ACK, 0, 8, 0, 0, 0, true } },
	  3 },
	{ "after a reset",
	  { { SYN, 0, 0, 0, 0, 0, false },
	    { PG_TCP_RST, 0, 0, 0, 0, 0, false },
	    { ACK, 0, 44, 0, 0, 0, true } },
	  3 },
	{ "a new connection on the same ports",
	  { { SYN, 0, 0, 0, 0, 0, false },
	    { ACK, 0, 12, 0, 1, 0, false },
	    { SYN, 0, 0, 0, 0, 0, false },
	    { ACK, 0, 44, 0, 3, 0, false } },
	  4 },
};

/* shift: where in the sequence numbers this part's bytes lie, for bytes that are not the wire's. */
static void take_part(struct pg_message_streams *streams, const struct part *part, uint16_t port,
		      uint32_t shift, struct pg_decoded *decoded)
{
	static uint64_t number;
	uint32_t bytes = part->to - part->from;

	memset(decoded, 0, sizeof(*decoded));
	decoded->number = ++number;
	decoded->ip.version = 4;
	decoded->tcp.source_port = port;
	decoded->tcp.target_port = 80;
	decoded->tcp.flags = part->flags;
	decoded->tcp.seq = WIRE_SEQ + part->from - shift - (part->flags & SYN ? 1 : 0);
	decoded->tcp.data = (struct pg_span){ wire + part->from, bytes - part->missing, bytes };
	pg_message_streams_segment(streams, decoded);
}

static void messages(void **state)
{
	make_wire();
	for (size_t i = 0; i < ARRAY_SIZE(message_rows); i++) {
		const struct message_row *row = &message_rows[i];
		struct pg_message_streams *streams = NULL;
		struct pg_decoded decoded;

		assert_int_equal(pg_message_streams_new(&streams), 0);
		for (uint32_t n = 0; n < row->parts_count; n++) {
			const struct part *part = &row->parts[n];
			bool malformed = part->malformed == PG_MALFORMED_TAG;

			take_part(streams, part, 1234, malformed ? part->from : 0, &decoded);
			if (decoded.messages.count != part->count ||
			    decoded.messages.malformed != part->malformed ||
			    decoded.messages.unread != part->unread)
				fail_msg("%s, part %u: %u messages, malformed %d, unread %d",
					 row->name, n, decoded.messages.count,
					 decoded.messages.malformed, decoded.messages.unread);
		}
		pg_message_streams_free(streams);
	}
}

/* The stream that was silent longest gives way; too many waiting segments end a stream. */
static void messages_bound(void **state)
{
	static const struct part syn = { .flags = SYN }, all = { .flags = ACK, .to = 44 };
	static const struct part ahead = { .flags = ACK, .from = 30, .to = 44 };
	struct pg_message_streams *streams = NULL;
	struct pg_decoded decoded;

	make_wire();
	assert_int_equal(pg_message_streams_new(&streams), 0);
	for (uint16_t port = 0; port <= PG_MESSAGE_STREAMS_MAX; port++)
		take_part(streams, &syn, port, 0, &decoded);
	take_part(streams, &all, 0, 0, &decoded);
	assert_true(decoded.messages.unread);
	take_part(streams, &all, 1, 0, &decoded);
	assert_int_equal(decoded.messages.count, 3);
	for (int i = 0; i <= PG_MESSAGE_PENDING_MAX; i++) {
		assert_false(decoded.messages.unread);
		take_part(streams, &ahead, 2, 0, &decoded);
	}
	assert_true(decoded.messages.unread);
	pg_message_streams_free(streams);
}

/* --- secrets -----------------------------------------------------------------------------------
 */

#define HEX32 "000102030405060708090a0b0c0d0e0f"
#define HEX64 HEX32 "101112131415161718191A1B1C1D1E1F"

static const struct secret_row {
	const char *name, *line;
	int rc;
	uint32_t session; /* that it makes, 0 = none */
} secret_rows[] = {
	{ "plain", "1 2 " HEX64 "\n", 0, 0x00010002 },
	{ "hexadecimal ids", "0x1234 0xABCD " HEX64, 0, 0x1234abcd },
	{ "an AEAD, tabs, a comment", "\t65535\t1 " HEX64 " aes-256-gcm # mine\r\n", 0,
	  0xffff0001 },
	{ "a handshake's split", "3 4 " HEX64 HEX64, 0, 0x00030004 },
	{ "empty", "\n", 0, 0 },
	{ "only a comment", "  # 1 2 " HEX64, 0, 0 },
	{ "two words", "1 2", -EINVAL, 0 },
	{ "five words", "1 2 " HEX64 " aes-256-gcm x", -EINVAL, 0 },
	{ "id 0", "0 2 " HEX64, -EINVAL, 0 },
	{ "id 65536", "1 65536 " HEX64, -EINVAL, 0 },
	{ "id of letters", "1 x2 " HEX64, -EINVAL, 0 },
	{ "id 0x", "1 0x " HEX64, -EINVAL, 0 },
	{ "negative id", "-1 2 " HEX64, -EINVAL, 0 },
	{ "secret one digit short", "1 2 " HEX32 HEX32 HEX32, -EINVAL, 0 },
	{ "secret with a letter", "1 2 g" HEX32 "101112131415161718191A1B1C1D1E1", -EINVAL, 0 },
	{ "another AEAD", "1 2 " HEX64 " aes-128-gcm", -EINVAL, 0 },
};

static void secret_lines(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(secret_rows); i++) {
		const struct secret_row *row = &secret_rows[i];
		struct pg_secrets *secrets = NULL;
		struct pg_error error = { "" };
		int rc;

		assert_int_equal(pg_secrets_new(&secrets), 0);
		rc = pg_secrets_add(secrets, row->line, &error);
		if (rc != row->rc || !rc != !*error.text)
			fail_msg("%s: %d, \"%s\"", row->name, rc, error.text);
		assert_null(strstr(error.text, "0001020304"));
		if (row->session)
			assert_non_null(pg_secrets_find(secrets, row->session));
		else
			assert_null(pg_secrets_find(secrets, 0x00010002));
		pg_secrets_free(secrets);
	}
}

static void many_secrets(void **state)
{
	struct pg_secrets *secrets = NULL;
	char line[PG_SECRETS_LINE_MAX + 1];
	struct pg_keys keys;
	uint8_t secret[32];

	assert_int_equal(pg_secrets_new(&secrets), 0);
	for (uint32_t i = 0; i < 500; i++) {
		snprintf(line, sizeof(line), "%u %u %064x", 1 + i * 7919 % 500, 9, i);
		assert_int_equal(pg_secrets_add(secrets, line, NULL), 0);
	}
	assert_int_equal(pg_secrets_add(secrets, line, NULL), -EEXIST);
	for (uint32_t i = 0; i < 500; i++) {
		const struct pg_session_keys *found =
			pg_secrets_find(secrets, (1 + i * 7919 % 500) << 16 | 9);

		memset(secret, 0, sizeof(secret));
		secret[30] = (uint8_t)(i >> 8);
		secret[31] = (uint8_t)i;
		assert_int_equal(pg_keys_derive(secret, sizeof(secret), &keys), 0);
		assert_non_null(found);
		assert_memory_equal(found->keys.prk, keys.prk, sizeof(keys.prk));
	}
	memset(line, ' ', PG_SECRETS_LINE_MAX);
	line[PG_SECRETS_LINE_MAX] = 0;
	assert_int_equal(pg_secrets_add(secrets, line, NULL), -EINVAL);
	pg_secrets_free(secrets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reassembly),	    cmocka_unit_test(changed_duplicate),
		cmocka_unit_test(reassembly_bound), cmocka_unit_test(reassembly_time),
		cmocka_unit_test(relative_numbers), cmocka_unit_test(connections_bound),
		cmocka_unit_test(messages),	    cmocka_unit_test(messages_bound),
		cmocka_unit_test(secret_lines),	    cmocka_unit_test(many_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
