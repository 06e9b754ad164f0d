// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "session_table.h"

struct pg_entry *pg_entry_new(const char *user)
{
	size_t bytes = strlen(user) + 1;
	struct pg_entry *entry = calloc(1, sizeof(*entry) + bytes);

	if (entry)
		memcpy(entry->user, user, bytes);
	return entry;
}

int pg_session_table_new(struct pg_maps *maps, struct pg_session_table **ret_table)
{
	struct pg_session_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	pthread_mutex_init(&table->lock, NULL);
	table->maps = maps;
	table->slots = maps->session_mask + 1;
	table->owners = malloc(table->slots);
	table->entries = calloc(table->slots, sizeof(*table->entries));
	table->free_streams = calloc(maps->stream_slots, sizeof(*table->free_streams));
	if (!table->owners || !table->entries || !table->free_streams) {
		pg_session_table_free(table);
		return -ENOMEM;
	}
	memset((void *)table->owners, PG_OWNER_NONE, table->slots);
	*ret_table = table;
	return 0;
}

void pg_session_table_free(struct pg_session_table *table)
{
	if (!table)
		return;
	free((void *)table->owners);
	free((void *)table->entries);
	free(table->free_streams);
	pthread_mutex_destroy(&table->lock);
	free(table);
}

void pg_table_claim_streams(struct pg_session_table *table)
{
	struct pg_maps *maps = table->maps;

	table->free_stream_count = 0;
	for (uint32_t slot = maps->stream_slots; slot-- > 0;)
		if (maps->stream_lines[slot].state == PG_STREAM_FREE)
			table->free_streams[table->free_stream_count++] = slot;
	atomic_store(&table->streams_used, maps->stream_slots - table->free_stream_count);
}

int pg_table_take_stream(struct pg_session_table *table, uint32_t *ret_slot)
{
	struct pg_maps *maps = table->maps;
	uint32_t slot;
	int err = -ENOSPC;

	pthread_mutex_lock(&table->lock);
	if (table->free_stream_count) {
		slot = table->free_streams[--table->free_stream_count];
		err = 0;
	}
	pthread_mutex_unlock(&table->lock);
	if (err)
		return err;
	memset(&maps->stream_windows[slot], 0, sizeof(maps->stream_windows[slot]));
	memset(&maps->stream_lines[slot], 0, sizeof(maps->stream_lines[slot]));
	atomic_fetch_add(&table->streams_used, 1);
	*ret_slot = slot;
	return 0;
}

void pg_table_give_stream(struct pg_session_table *table, uint32_t slot)
{
	memset(&table->maps->stream_lines[slot], 0, sizeof(table->maps->stream_lines[slot]));
	pthread_mutex_lock(&table->lock);
	table->free_streams[table->free_stream_count++] = slot;
	pthread_mutex_unlock(&table->lock);
	atomic_fetch_sub(&table->streams_used, 1);
}

void pg_peer_to_line(const struct pg_peer *peer, struct pg_session *line)
{
	memcpy(line->peer, peer->address.bytes, sizeof(line->peer));
	line->peer_port_be = pg_be16(peer->port);
}

void pg_peer_from_line(const struct pg_session *line, struct pg_peer *ret_peer)
{
	memcpy(ret_peer->address.bytes, line->peer, 16);
	ret_peer->port = pg_be16(line->peer_port_be);
}

/* Skips what was reserved but may have been used by a process whose counter is lost. */
#define SEND_SKIP 1025

static void prepare_window(struct pg_session_table *table, uint32_t slot,
			   const struct pg_session_add *add)
{
	struct pg_window *window = &table->maps->windows[slot];
	struct pg_opened *opened = &table->maps->opened[slot];

	memset(window, 0, sizeof(*window));
	memset(opened, 0, sizeof(*opened));
	window->next_deliver = window->next_send = 1;
	if (add->saved) {
		*window = add->window;
		*opened = add->opened;
		/* the exact counter died with the pins: PROTOCOL section 2, reserved block */
		window->next_send = add->send_bound > UINT32_MAX - SEND_SKIP
					    ? PG_PACK_ID_LAST
					    : add->send_bound + SEND_SKIP;
	}
	if (window->sent_time_ms < add->sent_time_ms)
		window->sent_time_ms = add->sent_time_ms;
	window->handle = add->handle;
	window->send_bound = add->send_bound;
	memset(&table->maps->acks[slot], 0, sizeof(table->maps->acks[slot]));
}

void pg_table_publish(struct pg_session_table *table, uint32_t slot,
		      const struct pg_session_add *add)
{
	struct pg_session *line = &table->maps->sessions[slot];
	uint64_t words[2];

	prepare_window(table, slot, add);
	pg_peer_to_line(&add->peer, line);
	line->highest = add->saved ? add->highest : 0;
	line->endpoint = add->entry->endpoint;
	line->policy = add->policy;
	line->state = add->half_open ? PG_SESSION_OPEN : PG_SESSION_READY;
	pg_keys_guard_words(&add->keys, PG_C2S, words);
	line->guard_c2s[0] = words[0];
	line->guard_c2s[1] = words[1];
	pg_keys_guard_words(&add->keys, PG_S2C, words);
	line->guard_s2c[0] = words[0];
	line->guard_s2c[1] = words[1];
	__atomic_store_n(&line->id, add->entry->id, __ATOMIC_RELEASE);
}

void pg_table_retract(struct pg_session_table *table, uint32_t slot)
{
	struct pg_session *line = &table->maps->sessions[slot];

	__atomic_store_n(&line->id, 0, __ATOMIC_RELEASE);
	memset(line, 0, sizeof(*line));
	memset(&table->maps->windows[slot], 0, sizeof(table->maps->windows[slot]));
	memset(&table->maps->opened[slot], 0, sizeof(table->maps->opened[slot]));
}
