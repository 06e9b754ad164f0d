// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <fcntl.h>

/* The reader of records is static in the server: the target is that file. */
#include "../../user/agent/app_server.c"

/*
 * Datagrams from an application. The first byte says whether hello was accepted before (bit 0),
 * what the handler answers (bits 1 and 2), and whether a length follows after which the second
 * datagram begins (bit 3). Every record the handler sees lies within its datagram, or was gathered.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct context {
	const uint8_t *start, *end;
	uint8_t answer;
	uint32_t asked, came; /* came: bytes of all datagrams so far */
};

static int fuzz_hello(void *context, const struct pg_app_connection *connection, const char *names,
		      char *reply, size_t reply_bytes)
{
	snprintf(reply, reply_bytes, "%.*s", (int)(reply_bytes - 1), names);
	return strlen(names) % 2 ? -ENOENT : 0;
}

static int fuzz_record(void *context, const struct pg_app_connection *connection,
		       const struct pg_app_record_in *record, const char **ret_why)
{
	struct context *c = context;
	uint8_t sum = 0;

	/* the whole message lies in the datagram, or was gathered from its records */
	if (record->bytes >= c->start && record->bytes <= c->end) {
		if (record->length > (uint32_t)(c->end - record->bytes))
			abort();
	} else if (record->length > c->came) {
		abort();
	}
	for (uint32_t i = 0; i < record->length; i++)
		sum ^= record->bytes[i];
	*ret_why = sum & 1 ? "record refused: odd" : "record refused: even";
	if (c->asked++ < 3 && c->answer & 2)
		return -EAGAIN;
	return c->answer & 4 ? -EINVAL : 0;
}

/* What must be tried again is, and goes on where it stopped. */
static void give(struct pg_app_server *server, struct client *client, struct context *context,
		 const uint8_t *data, uint32_t bytes)
{
	uint32_t at = 0;

	client->datagram = malloc(bytes ? bytes : 1);
	if (!client->datagram)
		abort();
	memcpy(client->datagram, data, bytes);
	client->at = 0;
	client->bytes = bytes;
	context->start = client->datagram;
	context->end = client->datagram + bytes;
	context->came += bytes;
	for (int i = 0; client->bytes; i++) {
		if (client->at < at || i > 8)
			abort();
		at = client->at;
		take_datagram(server, client);
	}
	free(client->datagram);
	if (client->gathered_bytes > context->came)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct context context = { 0 };
	struct pg_app_server server = {
		.handlers = { .hello = fuzz_hello, .record = fuzz_record, .context = &context }
	};
	struct client client = { .used = true };
	uint32_t first;

	if (bytes < 2 || bytes > PG_APP_DATAGRAM_MAX + 1)
		return 0;
	client.connection.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (client.connection.fd < 0)
		abort();
	pg_app_answers_init(&client.answers, client.connection.fd);
	client.serving = data[0] & 1;
	context.answer = data[0];
	data++;
	bytes--;
	if (context.answer & 8 && bytes > 2) {
		first = data[0] << 8 | data[1];
		data += 2;
		bytes -= 2;
		first = first < bytes ? first : bytes;
		give(&server, &client, &context, data, first);
		data += first;
		bytes -= first;
	}
	give(&server, &client, &context, data, bytes);
	pg_app_answers_done(&client.answers);
	close(client.connection.fd);
	free(client.gathered);
	return 0;
}
