// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <inttypes.h>
#include <stdlib.h>

#include "fields.h"

#define EXACT_MAX (UINT64_C(1) << 53) /* the largest that every reader of JSON takes as it is */

/* --- JSON --------------------------------------------------------------------------------------
 */

static void json_lead(struct pg_fields *fields, const char *name)
{
	if (!fields->first)
		fputc(',', fields->out);
	fields->first = false;
	if (name)
		fprintf(fields->out, "\"%s\":", name);
}

static void json_open(struct pg_fields *fields, const char *name, char bracket)
{
	json_lead(fields, name);
	fputc(bracket, fields->out);
	fields->first = true;
}

static void json_close(struct pg_fields *fields, char bracket)
{
	fputc(bracket, fields->out);
	fields->first = false;
}

static void json_value(struct pg_fields *fields, const char *name, const char *text, bool quoted)
{
	json_lead(fields, name);
	fprintf(fields->out, quoted ? "\"%s\"" : "%s", text);
}

const struct pg_fields_writer pg_fields_json = {
	.open = json_open,
	.close = json_close,
	.value = json_value,
};

/* --- lines for eyes ----------------------------------------------------------------------------
 */

/*
 * Depth 1 is the packet: its values and each of its parts are a line. Deeper parts stand in their
 * line, in brackets.
 */
static void text_lead(struct pg_fields *fields, const char *name, const char *colon)
{
	if (fields->depth == 1 && !fields->first)
		fputc('\n', fields->out);
	if (fields->depth == 1)
		fputs("    ", fields->out);
	else if (!fields->first)
		fputs(", ", fields->out);
	fields->first = false;
	if (name)
		fprintf(fields->out, "%s%s ", name, colon);
}

static void text_open(struct pg_fields *fields, const char *name, char bracket)
{
	if (fields->depth) {
		text_lead(fields, name, fields->depth == 1 ? ":" : "");
		if (fields->depth > 1)
			fputc(bracket, fields->out);
	}
	fields->first = true;
}

static void text_close(struct pg_fields *fields, char bracket)
{
	if (!fields->depth)
		fputc('\n', fields->out);
	else if (fields->depth > 1)
		fputc(bracket, fields->out);
	fields->first = false;
}

static void text_value(struct pg_fields *fields, const char *name, const char *text, bool quoted)
{
	text_lead(fields, name, "");
	fputs(text, fields->out);
}

const struct pg_fields_writer pg_fields_text = {
	.open = text_open,
	.close = text_close,
	.value = text_value,
};

/* --- values ------------------------------------------------------------------------------------
 */

void pg_field_open(struct pg_fields *fields, const char *name, char bracket)
{
	fields->writer->open(fields, name, bracket);
	fields->depth++;
}

void pg_field_close(struct pg_fields *fields, char bracket)
{
	fields->depth--;
	fields->writer->close(fields, bracket);
}

void pg_field_number(struct pg_fields *fields, const char *name, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	fields->writer->value(fields, name, text, number > EXACT_MAX);
}

void pg_field_flag(struct pg_fields *fields, const char *name, bool flag)
{
	fields->writer->value(fields, name, flag ? "true" : "false", false);
}

void pg_field_text(struct pg_fields *fields, const char *name, const char *text)
{
	fields->writer->value(fields, name, text, true);
}

void pg_field_hex(struct pg_fields *fields, const char *name, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(2 * n + 1);

	if (!text)
		return;
	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[bytes[i] >> 4];
		text[2 * i + 1] = digits[bytes[i] & 0xf];
	}
	text[2 * n] = 0;
	fields->writer->value(fields, name, text, true);
	free(text);
}
