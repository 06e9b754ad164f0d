// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "packgate/message.h"
#include "message_streams.h"

struct key {
	uint8_t source[16], target[16];
	uint16_t source_port, target_port;
	uint16_t tags[PG_TAGS_MAX];
	uint8_t version;
	uint8_t zero[3];
};

struct pending {
	uint8_t *bytes;
	uint32_t seq, length;
};

struct stream {
	struct key key;
	uint64_t used; /* number of its last packet, 0 = free */
	bool lost;     /* not read on */
	bool fin;      /* its last byte is known */
	uint32_t next; /* sequence number of the byte to read */
	uint32_t fin_seq;
	struct pg_message_parser parser;
	struct pending pending[PG_MESSAGE_PENDING_MAX];
	uint32_t pending_count, pending_bytes;
};

struct pg_message_streams {
	struct stream *streams[PG_MESSAGE_STREAMS_MAX]; /* made when first needed */
};

int pg_message_streams_new(struct pg_message_streams **ret_streams)
{
	struct pg_message_streams *streams = calloc(1, sizeof(*streams));

	if (!streams)
		return -ENOMEM;
	*ret_streams = streams;
	return 0;
}

static void drop_pending(struct stream *stream)
{
	for (uint32_t i = 0; i < stream->pending_count; i++)
		free(stream->pending[i].bytes);
	stream->pending_count = stream->pending_bytes = 0;
}

static void end_stream(struct stream *stream)
{
	if (!stream->used)
		return;
	drop_pending(stream);
	pg_message_parser_done(&stream->parser);
	stream->used = 0;
}

static void lose(struct stream *stream)
{
	drop_pending(stream);
	stream->lost = true;
}

void pg_message_streams_free(struct pg_message_streams *streams)
{
	if (!streams)
		return;
	for (size_t i = 0; i < PG_MESSAGE_STREAMS_MAX; i++) {
		if (!streams->streams[i])
			continue;
		end_stream(streams->streams[i]);
		free(streams->streams[i]);
	}
	free(streams);
}

static struct key key_of(const struct pg_decoded *decoded)
{
	struct key key;

	memset(&key, 0, sizeof(key));
	memcpy(key.source, decoded->ip.source, sizeof(key.source));
	memcpy(key.target, decoded->ip.target, sizeof(key.target));
	key.source_port = decoded->tcp.source_port;
	key.target_port = decoded->tcp.target_port;
	for (uint8_t i = 0; i < decoded->link.tag_count; i++)
		key.tags[i] = decoded->link.tags[i].id;
	key.version = decoded->ip.version;
	return key;
}

static struct stream *find(struct pg_message_streams *streams, const struct key *key)
{
	for (size_t i = 0; i < PG_MESSAGE_STREAMS_MAX && streams->streams[i]; i++)
		if (streams->streams[i]->used &&
		    !memcmp(&streams->streams[i]->key, key, sizeof(*key)))
			return streams->streams[i];
	return NULL;
}

/* A free place, or that of the stream which was silent longest; NULL without memory. */
static struct stream *take_place(struct pg_message_streams *streams)
{
	struct stream *oldest = NULL;

	for (size_t i = 0; i < PG_MESSAGE_STREAMS_MAX; i++) {
		if (!streams->streams[i])
			return streams->streams[i] = calloc(1, sizeof(struct stream));
		if (!oldest || streams->streams[i]->used < oldest->used)
			oldest = streams->streams[i];
	}
	end_stream(oldest);
	return oldest;
}

static void begin(struct pg_message_streams *streams, const struct key *key,
		  const struct pg_decoded *decoded)
{
	struct stream *stream = find(streams, key);

	if (stream && stream->next == decoded->tcp.seq + 1 && !stream->pending_count)
		return; /* the SYN again */
	if (stream)
		end_stream(stream);
	else
		stream = take_place(streams);
	if (!stream)
		return;
	memset(stream, 0, sizeof(*stream));
	stream->key = *key;
	stream->used = decoded->number;
	stream->next = decoded->tcp.seq + 1;
	pg_message_parser_init(&stream->parser, PG_MESSAGE_BODY);
}

static void note(struct pg_decoded_messages *messages, const struct pg_message_view *message)
{
	if (messages->count < PG_MESSAGES_SHOWN)
		messages->shown[messages->count] =
			(struct pg_decoded_message){ message->id, message->bytes };
	messages->count++;
}

/* Reads bytes that begin at stream->next. */
static void feed(struct stream *stream, const uint8_t *bytes, uint32_t n,
		 struct pg_decoded_messages *messages)
{
	struct pg_message_view message;
	size_t consumed = 0;
	int rc = 1;

	stream->next += n;
	while (n && rc > 0) {
		rc = pg_message_parse(&stream->parser, bytes, n, &consumed, &message);
		if (rc < 0) {
			messages->malformed = -rc;
			lose(stream);
			return;
		}
		if (rc)
			note(messages, &message);
		bytes += consumed;
		n -= (uint32_t)consumed;
	}
}

/* Feeds what of a segment is new; false if it lies ahead. */
static bool feed_segment(struct stream *stream, uint32_t seq, const uint8_t *bytes, uint32_t n,
			 struct pg_decoded_messages *messages)
{
	uint32_t old = stream->next - seq;

	if ((int32_t)old < 0)
		return false;
	if (old < n)
		feed(stream, bytes + old, n - old, messages);
	return true;
}

static void keep(struct stream *stream, uint32_t seq, const uint8_t *bytes, uint32_t n)
{
	uint8_t *copy;

	if (stream->pending_count == PG_MESSAGE_PENDING_MAX ||
	    n > PG_MESSAGE_PENDING_BYTES - stream->pending_bytes || !(copy = malloc(n))) {
		lose(stream);
		return;
	}
	memcpy(copy, bytes, n);
	stream->pending[stream->pending_count++] = (struct pending){ copy, seq, n };
	stream->pending_bytes += n;
}

/* Feeds what waited and has its turn now. */
static void feed_pending(struct stream *stream, struct pg_decoded_messages *messages)
{
	uint32_t i = 0;

	while (!stream->lost && i < stream->pending_count) {
		struct pending pending = stream->pending[i];

		if ((int32_t)(stream->next - pending.seq) < 0) {
			i++;
			continue;
		}
		stream->pending[i] = stream->pending[--stream->pending_count];
		stream->pending_bytes -= pending.length;
		feed_segment(stream, pending.seq, pending.bytes, pending.length, messages);
		free(pending.bytes);
		i = 0;
	}
}

static void take_data(struct stream *stream, struct pg_decoded *decoded)
{
	const struct pg_span *data = &decoded->tcp.data;

	if (stream->lost || !data->length)
		return;
	if (data->there < data->length)
		lose(stream);
	else if (feed_segment(stream, decoded->tcp.seq, data->at, data->length, &decoded->messages))
		feed_pending(stream, &decoded->messages);
	else
		keep(stream, decoded->tcp.seq, data->at, data->length);
}

static void take_end(struct stream *stream, struct pg_decoded *decoded)
{
	const struct pg_decoded_tcp *tcp = &decoded->tcp;

	if (tcp->flags & PG_TCP_FIN) {
		stream->fin = true;
		stream->fin_seq = tcp->seq + tcp->data.length;
	}
	if (tcp->flags & PG_TCP_RST) {
		end_stream(stream);
	} else if (stream->fin && stream->next == stream->fin_seq) {
		if (!stream->lost && pg_message_parser_inside(&stream->parser))
			decoded->messages.malformed = PG_MALFORMED_TRUNCATED;
		end_stream(stream);
	}
}

void pg_message_streams_segment(struct pg_message_streams *streams, struct pg_decoded *decoded)
{
	struct key key = key_of(decoded);
	struct stream *stream;

	decoded->messages.present = true;
	if (decoded->tcp.flags & PG_TCP_SYN) {
		begin(streams, &key, decoded);
		return;
	}
	stream = find(streams, &key);
	if (stream) {
		stream->used = decoded->number;
		take_data(stream, decoded);
		decoded->messages.unread = stream->lost && !decoded->messages.malformed;
		take_end(stream, decoded);
	} else {
		decoded->messages.unread = decoded->tcp.data.length > 0;
	}
}

void pg_messages_of_packet(struct pg_decoded *decoded)
{
	const uint8_t *at = decoded->frame.plain;
	size_t left = decoded->frame.plain_bytes, consumed;
	struct pg_message_view message;
	int rc;

	decoded->messages.present = true;
	while (left) {
		rc = pg_message_read(at, left, PG_MESSAGE_BODY, &consumed, &message);
		if (rc < 0) {
			/* a packet is refused whole */
			decoded->messages.count = 0;
			decoded->messages.malformed = -rc;
			return;
		}
		note(&decoded->messages, &message);
		at += consumed;
		left -= consumed;
	}
}
