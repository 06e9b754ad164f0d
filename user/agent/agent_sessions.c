// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "agent_internal.h"
#include "cleanup.h"
#include "log.h"
#include "saved_window.h"
#include "session_fit.h"

#define LIST_SLOTS 4096 /* slots a worker lists at a time, so that it goes on receiving */

/* --- provisioning ------------------------------------------------------------------------------
 */

/* What one row becomes, made and checked before anything is changed. Holds secrets. */
struct provision {
	struct pg_session_add add;
	struct pg_message *message; /* room to hand it over */
	uint8_t owner;		    /* whose its slot is, which is claimed */
	struct pg_store_session stored;
};

static int refuse_held(struct pg_agent *agent, uint32_t session, struct pg_error *error)
{
	uint32_t slot = pg_table_slot(agent->table, session);
	uint32_t holder = agent->maps->sessions[slot].id;

	if (!holder)
		return pg_error_set(error, -EEXIST,
				    "session %08x: its slot %u is being taken by another session; "
				    "choose another server id",
				    session, slot);
	return pg_error_set(error, -EEXIST,
			    "session %08x: its slot %u is held by session %08x; choose another "
			    "server id",
			    session, slot, holder);
}

static int check_row(struct pg_agent *agent, const struct pg_session_request *row,
		     uint32_t *ret_endpoint, struct pg_error *error)
{
	uint32_t session = (uint32_t)row->client_id << 16 | row->server_id;
	uint32_t slot = pg_table_slot(agent->table, session);
	const struct pg_session *line = &agent->maps->sessions[slot];
	uint32_t index = pg_endpoint_find(agent, row->endpoint);
	const struct pg_endpoint_config *config;

	if (!row->client_id || !row->server_id)
		return pg_error_set(error, -EINVAL,
				    "session %08x: client id and server id must not "
				    "be 0",
				    session);
	if (!index)
		return pg_error_set(error, -ENOENT, "session %08x: there is no endpoint '%s'",
				    session, row->endpoint);
	config = &agent->endpoints[index].config;
	if (pg_address_is_ipv4(&row->peer.address) != pg_address_is_ipv4(&config->address))
		return pg_error_set(error, -EINVAL,
				    "session %08x: the peer and endpoint '%s' are not "
				    "of one address family",
				    session, row->endpoint);
	if (pg_address_is_any(&row->peer.address) || pg_address_is_group(&row->peer.address) ||
	    !row->peer.port)
		return pg_error_set(error, -EINVAL,
				    "session %08x: the peer must be one host and port", session);
	if (!pg_aead_algorithm_name(row->aead))
		return pg_error_set(error, -EINVAL, "session %08x: there is no AEAD %u", session,
				    row->aead);
	if (line->id && line->state != PG_SESSION_CLOSE)
		return refuse_held(agent, session, error);
	*ret_endpoint = index;
	return 0;
}

static int fill_entry(struct pg_agent *agent, const struct pg_session_request *row,
		      uint32_t endpoint, struct provision *made)
{
	struct pg_entry *entry = pg_entry_new("");

	if (!entry)
		return -ENOMEM;
	entry->id = (uint32_t)row->client_id << 16 | row->server_id;
	entry->slot = pg_table_slot(agent->table, entry->id);
	entry->endpoint = endpoint;
	entry->created_ms = pg_agent_unix_ms();
	if (row->expires_seconds)
		entry->expires_ms = entry->created_ms + row->expires_seconds * 1000ull;
	made->add.entry = entry;
	made->add.peer = row->peer;
	made->add.aead = row->aead;
	made->add.policy = agent->endpoints[endpoint].config.policy;
	made->add.guard = agent->endpoints[endpoint].config.guard;
	made->add.roams = agent->endpoints[endpoint].config.roaming;
	made->add.send_bound = PG_FIRST_BLOCK + 1;
	made->add.claimed = true;
	made->owner = PG_OWNER_NONE;
	made->message = pg_message_new(PG_MESSAGE_ADD, &made->add, sizeof(made->add));
	if (!made->message)
		return -ENOMEM;
	return pg_keys_derive(row->secret, sizeof(row->secret), &made->add.keys);
}

static void fill_stored(struct pg_agent *agent, const struct pg_session_request *row,
			struct provision *made)
{
	struct pg_store_session *stored = &made->stored;
	const struct pg_entry *entry = made->add.entry;

	stored->endpoint_id = agent->endpoints[entry->endpoint].id;
	stored->client_id = row->client_id;
	stored->server_id = row->server_id;
	stored->peer = row->peer;
	stored->aead = row->aead;
	stored->policy = made->add.policy;
	stored->guard = made->add.guard;
	stored->provisioned = true;
	memcpy(stored->ikm, row->secret, sizeof(row->secret));
	stored->ikm_bytes = sizeof(row->secret);
	stored->created_ms = entry->created_ms;
	stored->expires_ms = entry->expires_ms;
	stored->tx_bound = PG_FIRST_BLOCK + 1;
}

static int prepare(struct pg_agent *agent, const struct pg_session_request *rows, size_t count,
		   struct provision *made, size_t *ret_failed, struct pg_error *error)
{
	uint32_t endpoint = 0;
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		*ret_failed = i;
		err = check_row(agent, &rows[i], &endpoint, error);
		if (err)
			break;
		err = fill_entry(agent, &rows[i], endpoint, &made[i]);
		if (!err)
			fill_stored(agent, &rows[i], &made[i]);
		else
			pg_error_set(error, err, "preparing session %zu: %s", i, strerror(-err));
	}
	return err;
}

static int compare_slots(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Two rows of one request may want one slot: the later one is refused. */
static int check_slots(const struct provision *made, size_t count, size_t *ret_failed,
		       struct pg_error *error)
{
	PG_FREE uint64_t *slots = calloc(count, sizeof(*slots));

	if (!slots)
		return pg_error_set(error, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		slots[i] = (uint64_t)made[i].add.entry->slot << 32 | i;
	qsort(slots, count, sizeof(*slots), compare_slots);
	for (size_t i = 1; i < count; i++) {
		if (slots[i] >> 32 != slots[i - 1] >> 32)
			continue;
		*ret_failed = (uint32_t)slots[i];
		return pg_error_set(error, -EEXIST,
				    "session %08x: its slot %u is taken by session "
				    "%08x of the same request; choose another server id",
				    made[*ret_failed].add.entry->id, (uint32_t)(slots[i] >> 32),
				    made[(uint32_t)slots[i - 1]].add.entry->id);
	}
	return 0;
}

static int store_rows(struct pg_agent *agent, struct provision *made, size_t count,
		      size_t *ret_failed, struct pg_error *error)
{
	PG_FREE struct pg_store_session *stored = calloc(count, sizeof(*stored));
	int err;

	if (!stored)
		return pg_error_set(error, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		stored[i] = made[i].stored;
	err = pg_store_add(agent->store, stored, count, ret_failed, error);
	for (size_t i = 0; i < count && !err; i++)
		made[i].add.handle = PG_HANDLE(stored[i].handle, made[i].add.entry->slot);
	OPENSSL_cleanse(stored, count * sizeof(*stored));
	return err;
}

/* Asks the owner of a slot for it, where a closed session may linger. As pg_worker_claim. */
static int ask_for_slot(struct pg_agent *agent, uint32_t slot, uint8_t owner)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_CLAIM, NULL, 0);
	struct pg_waiter waiter;

	if (!message)
		return -ENOMEM;
	message->slot = slot;
	pg_waiter_init(&waiter);
	pg_waiter_add(&waiter);
	message->waiter = &waiter;
	pg_inbox_post(pg_worker_inbox(agent->workers[owner]), message);
	return pg_waiter_wait(&waiter);
}

/* Makes a slot a worker's, so that no handshake takes it. -EEXIST if a session has it. */
static int claim_slot(struct pg_agent *agent, uint32_t slot, uint8_t *ret_owner)
{
	int err;

	do {
		uint8_t owner = PG_OWNER_NONE, first = slot % agent->worker_count;

		if (atomic_compare_exchange_strong(&agent->table->owners[slot], &owner, first)) {
			*ret_owner = first;
			return 0;
		}
		err = ask_for_slot(agent, slot, owner);
		if (!err)
			*ret_owner = owner;
		if (err == -EAGAIN)
			pg_store_flush(agent->store);
	} while (err == -ESTALE || err == -EAGAIN);
	return err;
}

/* Before anything is stored: what is stored is added. */
static int claim_slots(struct pg_agent *agent, struct provision *made, size_t count,
		       size_t *ret_failed, struct pg_error *error)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		err = claim_slot(agent, made[i].add.entry->slot, &made[i].owner);
		if (!err)
			continue;
		*ret_failed = i;
		if (err == -EEXIST)
			refuse_held(agent, made[i].add.entry->id, error);
		else
			pg_error_set(error, err, "claiming the slot of session %08x: %s",
				     made[i].add.entry->id, strerror(-err));
	}
	return err;
}

static void give_slots_back(struct pg_agent *agent, const struct provision *made, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (made[i].owner != PG_OWNER_NONE)
			atomic_store(&agent->table->owners[made[i].add.entry->slot], PG_OWNER_NONE);
}

static int post_rows(struct pg_agent *agent, struct provision *made, size_t count)
{
	struct pg_waiter waiter;

	pg_waiter_init(&waiter);
	for (size_t i = 0; i < count; i++) {
		struct pg_message *message = made[i].message;

		memcpy(message->data, &made[i].add, sizeof(made[i].add));
		message->waiter = &waiter;
		pg_waiter_add(&waiter);
		pg_inbox_post(pg_worker_inbox(agent->workers[made[i].owner]), message);
		/* the worker's now */
		made[i].message = NULL;
		made[i].add.entry = NULL;
	}
	return pg_waiter_wait(&waiter);
}

static int add_locked(struct pg_agent *agent, const struct pg_session_request *rows, size_t count,
		      struct provision *made, uint64_t *ret_handles, size_t *ret_failed,
		      struct pg_error *error)
{
	int err;

	err = prepare(agent, rows, count, made, ret_failed, error);
	if (!err)
		err = check_slots(made, count, ret_failed, error);
	if (err)
		return err;
	err = claim_slots(agent, made, count, ret_failed, error);
	if (!err)
		err = store_rows(agent, made, count, ret_failed, error);
	if (err) {
		give_slots_back(agent, made, count);
		return err;
	}
	for (size_t i = 0; i < count; i++)
		ret_handles[i] = made[i].add.handle;
	err = post_rows(agent, made, count);
	return err ? pg_error_set(error, err, "handing the sessions to the workers: %s",
				  strerror(-err))
		   : 0;
}

static void free_provision(struct provision *made)
{
	free(made->add.entry);
	if (made->message)
		OPENSSL_cleanse(made->message->data, made->message->bytes);
	free(made->message);
}

int pg_agent_session_add(struct pg_agent *agent, const struct pg_session_request *rows,
			 size_t count, uint64_t *ret_handles, size_t *ret_failed,
			 struct pg_error *error)
{
	struct provision *made;
	int err;

	*ret_failed = 0;
	if (!count || count > PG_STORE_ADD_MAX)
		return pg_error_set(error, -EINVAL, "a request adds 1 to %d sessions, not %zu",
				    PG_STORE_ADD_MAX, count);
	made = calloc(count, sizeof(*made));
	if (!made)
		return pg_error_set(error, -ENOMEM, "out of memory");
	pg_agent_lock(agent);
	err = add_locked(agent, rows, count, made, ret_handles, ret_failed, error);
	pg_agent_unlock(agent);
	for (size_t i = 0; i < count; i++)
		free_provision(&made[i]);
	OPENSSL_cleanse(made, count * sizeof(*made));
	free(made);
	return err;
}

/* --- messages for a session --------------------------------------------------------------------
 */

int pg_agent_post_session(struct pg_agent *agent, uint32_t slot, struct pg_message *message)
{
	_Atomic uint8_t *owner = &agent->table->owners[slot];
	uint8_t index;
	int err;

	do {
		index = atomic_load(owner);
		if (index >= agent->worker_count)
			return -ENOENT;
		err = pg_inbox_post_owned(pg_worker_inbox(agent->workers[index]), message, owner,
					  index);
	} while (err == -ESTALE); /* it moved meanwhile */
	return err;
}

/* --- closing -----------------------------------------------------------------------------------
 */

static int close_slot(struct pg_agent *agent, uint32_t slot, uint32_t session, uint8_t code)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_CLOSE, NULL, 0);
	struct pg_waiter waiter;
	int err;

	if (!message)
		return -ENOMEM;
	message->close.session = session;
	message->close.slot = slot;
	message->close.code = code;
	pg_waiter_init(&waiter);
	pg_waiter_add(&waiter);
	message->waiter = &waiter;
	err = pg_agent_post_session(agent, slot, message);
	if (err) {
		free(message);
		pg_waiter_done(&waiter, err);
	}
	return pg_waiter_wait(&waiter);
}

int pg_agent_session_close(struct pg_agent *agent, uint32_t session, uint8_t code,
			   struct pg_error *error)
{
	uint32_t slot = pg_table_slot(agent->table, session);
	struct pg_session_status status = { 0 };
	PG_FREE char *user = NULL;
	int err;

	if (!pg_agent_session_show(agent, session, &status))
		user = status.user;
	pg_agent_lock(agent);
	err = close_slot(agent, slot, session, code);
	pg_agent_unlock(agent);
	if (!err)
		pg_info_log("session %08x%s%s is closed over the control API", session,
			    user ? " of user " : "", user ? user : "");
	return err ? pg_error_set(error, err, "closing session %08x: %s", session,
				  err == -ENOENT ? "there is no such session" : strerror(-err))
		   : 0;
}

/* --- listing -----------------------------------------------------------------------------------
 */

/* Asks the owner of one slot, whoever that is when the question reaches it. */
static void list_slot(struct pg_agent *agent, uint32_t slot, struct pg_session_rows *rows)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_LIST, NULL, 0);
	struct pg_waiter waiter;

	if (!message)
		return;
	message->list.rows = rows;
	message->list.first = slot;
	message->list.last = slot + 1;
	pg_waiter_init(&waiter);
	pg_waiter_add(&waiter);
	message->waiter = &waiter;
	if (pg_agent_post_session(agent, slot, message)) {
		free(message);
		pg_waiter_done(&waiter, 0);
	}
	pg_waiter_wait(&waiter);
}

static bool lives(const struct pg_agent *agent, uint32_t slot)
{
	const struct pg_session *line = &agent->maps->sessions[slot];

	return line->id && line->state != PG_SESSION_CLOSE &&
	       atomic_load(&agent->table->owners[slot]) < agent->worker_count;
}

/*
 * One worker is asked after the other: a session that moves meanwhile is there at both, and listed
 * once, or at neither, and asked for by itself.
 */
static void list_slots(struct pg_agent *agent, uint32_t first, uint32_t last,
		       struct pg_session_rows *rows)
{
	bool listed[LIST_SLOTS] = { false };

	rows->listed = listed;
	rows->listed_from = first;
	for (uint32_t i = 0; i < agent->worker_count; i++)
		pg_worker_list(agent->workers[i], first, last, rows);
	for (uint32_t slot = first; slot < last; slot++)
		if (!listed[slot - first] && lives(agent, slot))
			list_slot(agent, slot, rows);
	rows->listed = NULL;
}

static void list_all(struct pg_agent *agent, struct pg_session_rows *rows)
{
	uint32_t last = agent->table->slots;

	pg_agent_lock(agent);
	for (uint32_t slot = 0; slot < last; slot += LIST_SLOTS)
		list_slots(agent, slot, last - slot < LIST_SLOTS ? last : slot + LIST_SLOTS, rows);
	pg_agent_unlock(agent);
}

static void list_one(struct pg_agent *agent, uint32_t session, struct pg_session_rows *rows)
{
	pg_agent_lock(agent);
	list_slot(agent, pg_table_slot(agent->table, session), rows);
	pg_agent_unlock(agent);
}

int pg_agent_sessions(struct pg_agent *agent, struct pg_session_status **ret_rows,
		      size_t *ret_count)
{
	struct pg_session_rows rows = { 0 };

	list_all(agent, &rows);
	*ret_rows = rows.rows;
	*ret_count = rows.count;
	return 0;
}

void pg_agent_sessions_free(struct pg_session_status *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(rows[i].user);
	free(rows);
}

int pg_agent_session_show(struct pg_agent *agent, uint32_t session,
			  struct pg_session_status *ret_row)
{
	struct pg_session_rows rows = { 0 };
	int err = -ENOENT;

	list_one(agent, session, &rows);
	if (rows.count && rows.rows[0].session == session) {
		*ret_row = rows.rows[0];
		rows.rows[0].user = NULL;
		err = 0;
	}
	pg_agent_sessions_free(rows.rows, rows.count);
	return err;
}

int pg_agent_streams(struct pg_agent *agent, uint32_t session, struct pg_stream_status **ret_rows,
		     size_t *ret_count)
{
	struct pg_session_rows rows = { .want_streams = true };

	if (session)
		list_one(agent, session, &rows);
	else
		list_all(agent, &rows);
	*ret_rows = rows.streams;
	*ret_count = rows.stream_count;
	return 0;
}

int pg_agent_session_counts(struct pg_agent *agent, struct pg_session_count **ret_rows,
			    size_t *ret_count)
{
	struct pg_session_count *rows = calloc(PG_ENDPOINTS_MAX, sizeof(*rows));
	uint16_t place[PG_ENDPOINTS_MAX] = { 0 };
	size_t count = 0;

	if (!rows)
		return -ENOMEM;
	pg_agent_lock(agent);
	for (uint32_t i = 1; i < PG_ENDPOINTS_MAX; i++)
		if (agent->endpoints[i].used) {
			snprintf(rows[count].endpoint, sizeof(rows[count].endpoint), "%s",
				 agent->endpoints[i].config.name);
			place[i] = ++count;
		}
	for (uint32_t slot = 0; slot < agent->table->slots; slot++) {
		const struct pg_session *line = &agent->maps->sessions[slot];
		uint16_t endpoint = line->endpoint;

		if (line->id && endpoint < PG_ENDPOINTS_MAX && place[endpoint] && line->state < 5)
			rows[place[endpoint] - 1].by_state[line->state]++;
	}
	pg_agent_unlock(agent);
	*ret_rows = rows;
	*ret_count = count;
	return 0;
}

/* --- restart -----------------------------------------------------------------------------------
 */

#define SAID_MAX 16 /* sessions that are not restored, each in the log by itself */

/* By slot: whether a row of the store accounts for what is pinned there. */
enum explained { PIN_UNKNOWN, PIN_ADOPTED, PIN_REMOVED };

struct restore {
	struct pg_agent *agent;
	uint8_t *explained; /* enum explained */
	int err;
};

static bool pinned_as(const struct pg_agent *agent, uint32_t slot, uint32_t session,
		      uint64_t handle)
{
	const struct pg_session *line = &agent->maps->sessions[slot];

	return line->id == session && agent->maps->windows[slot].handle == handle &&
	       line->state == PG_SESSION_READY;
}

static bool take_saved(const struct pg_store_session *row, struct pg_session_add *add)
{
	struct pg_saved_window saved;

	if (!row->window || pg_saved_window_unpack(row->window, row->window_bytes, &saved))
		return false;
	add->saved = true;
	add->highest = saved.highest;
	add->window = saved.window;
	add->opened = saved.opened;
	return true;
}

static void forget_row(struct restore *restore, const struct pg_store_session *row, uint32_t slot,
		       const char *why)
{
	uint32_t session = (uint32_t)row->client_id << 16 | row->server_id;
	struct pg_agent *agent = restore->agent;

	if (agent->removed++ < SAID_MAX)
		pg_warning_log("session %08x%s%s is not restored: %s", session,
			       *row->user ? " of user " : "", row->user, why);
	if (agent->maps->sessions[slot].id == session)
		restore->explained[slot] = PIN_REMOVED;
	while (pg_store_remove_async(agent->store, row->handle, NULL, NULL) == -EAGAIN)
		pg_store_flush(agent->store);
}

static void hand_to_worker(struct pg_agent *agent, const struct pg_session_add *add)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_ADD, add, sizeof(*add));

	if (!message) {
		free(add->entry);
		return;
	}
	pg_inbox_post(pg_worker_inbox(agent->workers[add->entry->slot % agent->worker_count]),
		      message);
}

static int restore_row(void *context, const struct pg_store_session *row)
{
	struct restore *restore = context;
	struct pg_agent *agent = restore->agent;
	uint32_t session = (uint32_t)row->client_id << 16 | row->server_id;
	uint32_t slot = pg_table_slot(agent->table, session);
	uint32_t endpoint = pg_endpoint_find_id(agent, row->endpoint_id);
	struct pg_session_add add = {
		.peer = row->peer,
		.handle = PG_HANDLE(row->handle, slot),
		.send_bound = row->tx_bound > UINT32_MAX ? UINT32_MAX : row->tx_bound,
		.aead = row->aead,
		.policy = row->policy,
	};

	if (!endpoint) {
		agent->misfits[PG_MISFIT_ENDPOINT]++;
		forget_row(restore, row, slot, "its endpoint is not configured any more");
		return 0;
	}
	add.guard = row->guard == PG_STORE_GUARD_UNKNOWN ? agent->endpoints[endpoint].config.guard
							 : row->guard;
	add.roams = agent->endpoints[endpoint].config.roaming;
	add.adopt = pinned_as(agent, slot, session, add.handle);
	if (!add.adopt && !take_saved(row, &add)) {
		forget_row(restore, row, slot,
			   "the pins are gone and the last stop was not clean, so its "
			   "replay window is lost; provision it with a new secret");
		return 0;
	}
	add.entry = pg_entry_new(row->user);
	if (!add.entry || pg_keys_derive(row->ikm, row->ikm_bytes, &add.keys)) {
		free(add.entry);
		restore->err = -ENOMEM;
		return -ENOMEM;
	}
	add.entry->id = session;
	add.entry->slot = slot;
	add.entry->endpoint = endpoint;
	add.entry->created_ms = row->created_ms;
	add.entry->expires_ms = row->expires_ms;
	if (!row->provisioned) {
		add.max_payload = PG_ROW_MAX_PAYLOAD(row->flags);
		add.streams = PG_ROW_STREAMS(row->flags);
		add.entry->idle_ms = agent->config->limits.idle_seconds * 1000ull;
	}
	if (add.adopt)
		restore->explained[slot] = PIN_ADOPTED;
	if (pg_session_fit(&agent->view->endpoints[endpoint], add.guard, add.policy,
			   &add.peer.address))
		agent->misfits_restored++;
	else if (add.adopt)
		agent->adopted++;
	else
		agent->restored++;
	hand_to_worker(agent, &add);
	OPENSSL_cleanse(&add, sizeof(add));
	return 0;
}

/* Whatever is pinned and no row explains goes away, before a worker may take the slot. */
static void remove_unexplained(struct pg_agent *agent, const uint8_t *explained)
{
	struct pg_maps *maps = agent->maps;

	for (uint32_t slot = 0; slot < agent->table->slots; slot++) {
		const struct pg_session *line = &maps->sessions[slot];

		if (explained[slot] == PIN_ADOPTED || !line->id)
			continue;
		if (explained[slot] == PIN_UNKNOWN && line->state != PG_SESSION_CLOSE) {
			pg_warning_log("pinned session %08x is removed: the store does not know it",
				       line->id);
			agent->removed++;
		}
		pg_table_retract(agent->table, slot);
	}
}

static void remove_stream(struct pg_maps *maps, uint32_t slot)
{
	struct pg_stream_line *line = &maps->stream_lines[slot];
	struct pg_stream_key key = {
		.session_slot = line->session_slot,
		.stream = line->stream,
	};

	bpf_map_delete_elem(maps->streams, &key);
	memset(line, 0, sizeof(*line));
}

static void remove_lost_streams(struct pg_agent *agent, const uint8_t *explained)
{
	struct pg_maps *maps = agent->maps;

	for (uint32_t slot = 0; slot < maps->stream_slots; slot++) {
		const struct pg_stream_line *line = &maps->stream_lines[slot];

		if (line->state == PG_STREAM_FREE)
			continue;
		if (line->session_slot >= agent->table->slots ||
		    explained[line->session_slot] != PIN_ADOPTED ||
		    maps->windows[line->session_slot].handle != maps->stream_windows[slot].handle)
			remove_stream(maps, slot);
	}
	pg_table_claim_streams(agent->table);
}

/* Chains the pinned streams by session, for the workers to adopt; freed once they did. */
static int chain_streams(struct pg_agent *agent)
{
	struct pg_session_table *table = agent->table;
	struct pg_maps *maps = agent->maps;

	table->adopt_first = calloc(table->slots, sizeof(*table->adopt_first));
	table->adopt_next = calloc(maps->stream_slots, sizeof(*table->adopt_next));
	if (!table->adopt_first || !table->adopt_next)
		return -ENOMEM;
	for (uint32_t slot = 0; slot < maps->stream_slots; slot++) {
		const struct pg_stream_line *line = &maps->stream_lines[slot];

		if (line->state == PG_STREAM_FREE)
			continue;
		table->adopt_next[slot] = table->adopt_first[line->session_slot];
		table->adopt_first[line->session_slot] = slot + 1;
	}
	return 0;
}

/* The workers have them, keys and all, so that their peers hear of the end. */
static void end_misfits(struct pg_agent *agent)
{
	if (agent->misfits_restored)
		pg_sessions_end(agent, 0, PG_FIT);
	agent->removed += agent->misfits_restored;
	if (agent->removed > SAID_MAX)
		pg_warning_log("%lu sessions of the run before are not restored",
			       (unsigned long)agent->removed);
}

void pg_sessions_restored(struct pg_agent *agent)
{
	end_misfits(agent);
	free(agent->table->adopt_first);
	free(agent->table->adopt_next);
	agent->table->adopt_first = agent->table->adopt_next = NULL;
}

int pg_sessions_restore(struct pg_agent *agent, struct pg_error *error)
{
	struct restore restore = { .agent = agent };
	int err;

	restore.explained = calloc(agent->table->slots, 1);
	if (!restore.explained)
		return pg_error_set(error, -ENOMEM, "out of memory");
	err = pg_store_sessions(agent->store, restore_row, &restore, error);
	if (!err) {
		remove_unexplained(agent, restore.explained);
		remove_lost_streams(agent, restore.explained);
		err = chain_streams(agent);
	}
	if (!err) {
		agent->windows_taken = true;
		err = pg_store_clear_windows(agent->store, error);
	}
	free(restore.explained);
	return err;
}

static bool ready(const struct pg_agent *agent, uint32_t slot)
{
	const struct pg_session *line = &agent->maps->sessions[slot];

	return line->id && line->state == PG_SESSION_READY;
}

static int compare_handles(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Handles, which carry their slots, in the order that the store appends in. NULL without memory. */
static uint64_t *ready_handles(const struct pg_agent *agent, size_t *ret_count)
{
	uint64_t *handles = calloc(agent->table->slots, sizeof(*handles));
	size_t count = 0;

	for (uint32_t slot = 0; handles && slot < agent->table->slots; slot++)
		if (ready(agent, slot))
			handles[count++] = agent->maps->windows[slot].handle;
	if (count)
		qsort(handles, count, sizeof(*handles), compare_handles);
	*ret_count = count;
	return handles;
}

static void save_window(struct pg_agent *agent, uint64_t handle)
{
	uint32_t slot = PG_HANDLE_SLOT(handle);
	struct pg_saved_window saved = { 0 };
	uint8_t blob[PG_SAVED_WINDOW_BYTES];

	saved.highest = agent->maps->sessions[slot].highest;
	saved.window = agent->maps->windows[slot];
	saved.opened = agent->maps->opened[slot];
	if (saved.window.sent_time_ms < agent->maps->acks[slot].sent_time_ms)
		saved.window.sent_time_ms = agent->maps->acks[slot].sent_time_ms;
	pg_store_save_window(agent->store, PG_HANDLE_STORED(handle), blob,
			     pg_saved_window_pack(&saved, blob));
}

void pg_sessions_save(struct pg_agent *agent)
{
	PG_FREE uint64_t *handles = NULL;
	struct pg_error error;
	size_t count = 0;

	handles = ready_handles(agent, &count);
	if (!handles) {
		pg_warning_log("the stop is not marked clean: out of memory");
		return;
	}
	for (size_t i = 0; i < count; i++)
		save_window(agent, handles[i]);
	if (pg_store_mark_clean(agent->store, &error))
		pg_warning_log("the stop is not marked clean: %s", error.text);
}

void pg_sessions_leave(struct pg_agent *agent)
{
	struct pg_error error;

	if (agent->windows_taken || pg_store_past(agent->store) != PG_STORE_CLEAN)
		return;
	if (pg_store_mark_clean(agent->store, &error))
		pg_warning_log("the windows of the last stop are lost: %s", error.text);
}
