// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <string.h>

#include "aead.h"
#include "handshake.h"
#include "packgate/bytes.h"

#define PARAMETER_END 0

static uint32_t write_parameter(uint8_t *out, uint8_t type, uint16_t value)
{
	if (!value)
		return 0;
	out[0] = type;
	out[1] = sizeof(value);
	pg_store_be16(out + 2, value);
	return 4;
}

static uint32_t write_parameters(uint8_t *out, const struct pg_parameters *parameters)
{
	uint32_t n = 0;

#define PG_X(name, type) n += write_parameter(out + n, type, parameters->name);
	PG_PARAMETERS(PG_X)
#undef PG_X
	return n;
}

static bool parameters_valid(const struct pg_parameters *parameters)
{
	return !parameters->max_payload || parameters->max_payload >= PG_PARAMETER_PAYLOAD_MIN;
}

static uint16_t *parameter_of(struct pg_parameters *parameters, uint8_t type)
{
	switch (type) {
#define PG_X(name, number) \
	case number:       \
		return &parameters->name;
		PG_PARAMETERS(PG_X)
#undef PG_X
	default:
		return NULL;
	}
}

static int read_parameters(const uint8_t *text, size_t bytes, struct pg_parameters *ret_parameters)
{
	struct pg_parameters parameters = { 0 };
	uint16_t *value;
	size_t at = 0;

	while (at < bytes && text[at] != PARAMETER_END) {
		if (bytes - at < 2 || bytes - at - 2 < text[at + 1])
			return -EBADMSG;
		value = parameter_of(&parameters, text[at]);
		if (value && text[at + 1] != sizeof(*value))
			return -EBADMSG;
		if (value)
			*value = pg_load_be16(text + at + 2);
		at += 2 + text[at + 1];
	}
	if (!parameters_valid(&parameters))
		return -EBADMSG;
	*ret_parameters = parameters;
	return 0;
}

uint32_t pg_question_write(uint8_t *out, const struct pg_question *question)
{
	uint32_t n = 2 + question->token_bytes;

	pg_store_be16(out, question->token_bytes);
	if (question->token_bytes)
		memcpy(out + 2, question->token, question->token_bytes);
	n += write_parameters(out + n, &question->parameters);
	if (n < PG_QUESTION_MIN) {
		memset(out + n, 0, PG_QUESTION_MIN - n);
		n = PG_QUESTION_MIN;
	}
	return n;
}

int pg_question_read(const uint8_t *text, size_t bytes, struct pg_question *ret_question)
{
	struct pg_question question;
	int err;

	if (bytes < PG_QUESTION_MIN)
		return -EBADMSG;
	question.token_bytes = pg_load_be16(text);
	question.token = text + 2;
	if (question.token_bytes > PG_TOKEN_MAX || question.token_bytes > bytes - 2)
		return -EBADMSG;
	err = read_parameters(text + 2 + question.token_bytes, bytes - 2 - question.token_bytes,
			      &question.parameters);
	if (!err)
		*ret_question = question;
	return err;
}

uint32_t pg_terms_write(uint8_t *out, const struct pg_terms *terms)
{
	out[0] = terms->aead;
	out[1] = terms->guard;
	out[2] = terms->policy;
	out[3] = 0;
	pg_store_be16(out + 4, terms->server_id);
	return 6 + write_parameters(out + 6, &terms->parameters);
}

int pg_terms_read(const uint8_t *text, size_t bytes, struct pg_terms *ret_terms)
{
	struct pg_terms terms;
	int err;

	if (bytes < 6 || !pg_aead_algorithm_name(text[0]) || text[1] > 1 || text[2] > 1 || text[3])
		return -EBADMSG;
	terms.aead = text[0];
	terms.guard = text[1];
	terms.policy = text[2];
	terms.server_id = pg_load_be16(text + 4);
	err = read_parameters(text + 6, bytes - 6, &terms.parameters);
	if (err || !terms.server_id)
		return -EBADMSG;
	*ret_terms = terms;
	return 0;
}

void pg_handshake_prologue(uint16_t client_id, uint8_t wish, uint8_t ret_text[PG_PROLOGUE_BYTES])
{
	memcpy(ret_text, "udpack/1", 8);
	pg_store_be16(ret_text + 8, client_id);
	ret_text[10] = PG_HANDSHAKE_VERSION;
	ret_text[11] = wish;
}
