// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#include "dissect.h"
#include "fields.h"
#include "line.h"

/*
 * Captured packets. The first byte chooses the link type (its low bits, in the order of PG_LINKS)
 * and the guard (0x80), the next ones are packets: how many bytes there were (2, big-endian), how
 * many of them the capture lost at the end (1), then those that are there, in memory of exactly
 * their size. What is printed is printable, and one JSON object a packet.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define FUZZ_PACKETS_MAX 64

static const enum pg_link fuzz_links[] = {
#define PG_X(name, ...) PG_LINK_##name,
	PG_LINKS(PG_X)
#undef PG_X
};

static void fuzz_need_at(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "does not hold: %s\n", what);
	abort();
}

#define fuzz_need(what) fuzz_need_at(what, #what)

static bool fuzz_inside(const struct pg_span *span)
{
	volatile uint8_t byte; /* read for the sanitizer's sake */

	for (uint32_t i = 0; i < span->there; i++)
		byte = span->at[i];
	(void)byte;
	return span->there <= span->length;
}

static void fuzz_check(const struct pg_decoded *decoded)
{
	fuzz_need(decoded->captured <= decoded->length);
	if (decoded->transport == PG_TRANSPORT_TCP && decoded->tcp.whole)
		fuzz_need(fuzz_inside(&decoded->tcp.data) && decoded->tcp.header_bytes >= 20 &&
			  decoded->tcp.data.length + decoded->tcp.header_bytes ==
				  decoded->ip.payload_bytes);
	if (decoded->transport == PG_TRANSPORT_UDP && decoded->udp.whole)
		fuzz_need(fuzz_inside(&decoded->udp.data) &&
			  decoded->udp.data.length + 8 == decoded->udp.length);
	if (!decoded->reassembled_fragments)
		fuzz_need(decoded->ip.payload_bytes <= decoded->length);
}

static void fuzz_print(const struct pg_decoded *decoded)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	json_t *object;
	long json_at;

	fuzz_need(out != NULL);
	pg_line_write(decoded, decoded->number & 1, out);
	fputc('\n', out);
	pg_fields_write(decoded, &pg_fields_text, out);
	fflush(out);
	json_at = ftell(out);
	pg_fields_write(decoded, &pg_fields_json, out);
	fclose(out);
	for (size_t i = 0; i < size; i++)
		fuzz_need(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7f));
	object = json_loads(text + json_at, JSON_REJECT_DUPLICATES, NULL);
	fuzz_need(object && !strchr(text + json_at, '\n'));
	json_decref(object);
	free(text);
}

static void fuzz_one(struct pg_dissector *dissector, const struct pg_capture *shape,
		     const uint8_t *data)
{
	struct pg_capture capture = *shape;
	struct pg_decoded decoded;
	uint8_t *copy = malloc(capture.captured ? capture.captured : 1);

	fuzz_need(copy != NULL);
	memcpy(copy, data, capture.captured);
	capture.bytes = copy;
	pg_dissect(dissector, &capture, &decoded);
	fuzz_check(&decoded);
	fuzz_print(&decoded);
	free(copy);
}

/* The sessions of the corpus: secrets 00 01 .. 1f and 20 21 .. 3f. */
static struct pg_secrets *fuzz_secrets(void)
{
	struct pg_secrets *secrets;

	fuzz_need(!pg_secrets_new(&secrets));
	fuzz_need(!pg_secrets_add(secrets,
				  "0x1234 0xabcd 000102030405060708090a0b0c0d0e0f"
				  "101112131415161718191a1b1c1d1e1f",
				  NULL));
	fuzz_need(!pg_secrets_add(secrets,
				  "1 2 202122232425262728292a2b2c2d2e2f"
				  "303132333435363738393a3b3c3d3e3f aes-256-gcm",
				  NULL));
	return secrets;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct pg_secrets *secrets;
	struct pg_dissect_options options = { .session_ports = { { 4000, 4001 }, 2 },
					      .message_ports = { { 80, 4001 }, 2 } };
	struct pg_capture capture = { .time_ns = 1700000000000000000 };
	struct pg_dissector *dissector;
	size_t at = 1;

	if (!bytes || bytes > 1 << 17)
		return 0;
	if (!secrets)
		secrets = fuzz_secrets();
	options.secrets = secrets;
	options.guard = data[0] & 0x80;
	fuzz_need(!pg_dissector_new(&options, &dissector, NULL));
	capture.link = fuzz_links[(data[0] & 0x7f) % (sizeof(fuzz_links) / sizeof(fuzz_links[0]))];
	for (int n = 0; n < FUZZ_PACKETS_MAX && bytes - at >= 3; n++) {
		capture.length = (uint32_t)data[at] << 8 | data[at + 1];
		capture.captured =
			capture.length > data[at + 2] ? capture.length - data[at + 2] : 0;
		at += 3;
		if (capture.captured > bytes - at)
			capture.captured = bytes - at;
		fuzz_one(dissector, &capture, data + at);
		at += capture.captured;
		capture.time_ns += 1000000;
	}
	pg_dissector_free(dissector);
	return 0;
}
