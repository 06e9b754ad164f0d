// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>

#include "cleanup.h"
#include "shield.h"

static bool same_place(const struct pg_shield *shield, const struct pg_shield_listener *listener)
{
	struct pg_address address;
	bool any;

	if (!shield->origin || shield->port != listener->port)
		return false;
	any = shield->wildcard && !shield->family;
	if (any || listener->any)
		return any == listener->any;
	if (shield->wildcard)
		return pg_address_is_any(&listener->address) &&
		       pg_address_is_ipv4(&listener->address) == (shield->family == 4);
	memcpy(&address, shield->address, sizeof(address));
	return pg_address_equal(&address, &listener->address);
}

uint32_t pg_shield_find(const struct pg_shield_table *table,
			const struct pg_shield_listener *listener)
{
	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++)
		if (same_place(&table->shields[i], listener))
			return i;
	return 0;
}

static uint32_t count_on_port(const struct pg_shield_table *table, uint16_t port)
{
	uint32_t count = 0;

	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++)
		count += table->shields[i].origin && table->shields[i].port == port;
	return count;
}

/* Exact addresses before those of a family, and these before the one for all. */
static int rank(const struct pg_shield *shield)
{
	return !shield->wildcard ? 0 : shield->family ? 1 : 2;
}

/*
 * Chains the port's shields anew. The gate may read meanwhile: it then misses a shield for the one
 * segment, but never follows an index that is none, for every entry stays valid.
 */
static void chain(const struct pg_shield_table *table, uint16_t port)
{
	uint32_t next = 0;

	for (int r = 2; r >= 0; r--) {
		for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++) {
			struct pg_shield *shield = &table->shields[i];

			if (!shield->origin || shield->port != port || rank(shield) != r)
				continue;
			__atomic_store_n(&shield->next, next, __ATOMIC_RELEASE);
			next = i;
		}
	}
	__atomic_store_n(&table->ports->first[port], next, __ATOMIC_RELEASE);
}

static uint32_t free_index(const struct pg_shield_table *table)
{
	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++)
		if (!table->shields[i].origin)
			return i;
	return 0;
}

static void set_place(struct pg_shield *shield, const struct pg_shield_listener *listener)
{
	memset(shield, 0, sizeof(*shield));
	shield->port = listener->port;
	shield->wildcard = listener->any || pg_address_is_any(&listener->address);
	if (!listener->any)
		shield->family = pg_address_is_ipv4(&listener->address) ? 4 : 6;
	if (!shield->wildcard)
		memcpy(shield->address, &listener->address, sizeof(shield->address));
}

static void set_mode(struct pg_shield *shield, struct pg_shield_state *state,
		     const struct pg_shield_listener *listener, uint64_t now_ms)
{
	if (listener->mode != PG_SHIELD_OFF)
		shield->off_since_ms = 0;
	else if (!shield->off_since_ms)
		shield->off_since_ms = now_ms;
	if (shield->mode != listener->mode)
		state->active = listener->mode == PG_SHIELD_ON;
	shield->threshold = (uint8_t)listener->threshold;
	__atomic_store_n(&shield->mode, (uint8_t)listener->mode, __ATOMIC_RELEASE);
}

int pg_shield_put(const struct pg_shield_table *table, const struct pg_shield_listener *listener,
		  enum pg_shield_origin origin, uint64_t now_ms, struct pg_error *error)
{
	uint32_t index = pg_shield_find(table, listener);
	struct pg_shield *shield;

	if (index) {
		table->shields[index].origin = origin;
		set_mode(&table->shields[index], &table->states[index], listener, now_ms);
		return (int)index;
	}
	index = free_index(table);
	if (!index)
		return pg_error_set(error, -ENOSPC, "%d listeners have a shield already, the most",
				    PG_SHIELDS_MAX - 1);
	if (count_on_port(table, listener->port) >= PG_SHIELDS_PER_PORT)
		return pg_error_set(error, -ENOSPC, "port %u has %d shields already, the most",
				    listener->port, PG_SHIELDS_PER_PORT);
	shield = &table->shields[index];
	memset(&table->states[index], 0, sizeof(table->states[index]));
	set_place(shield, listener);
	set_mode(shield, &table->states[index], listener, now_ms);
	shield->origin = origin;
	chain(table, listener->port);
	return (int)index;
}

void pg_shield_remove(const struct pg_shield_table *table, uint32_t index)
{
	struct pg_shield *shield = &table->shields[index];
	uint16_t port = shield->port;

	__atomic_store_n(&shield->mode, PG_SHIELD_OFF, __ATOMIC_RELEASE);
	shield->origin = PG_SHIELD_FREE;
	chain(table, port);
}

bool pg_shield_get(const struct pg_shield_table *table, uint32_t index,
		   struct pg_shield_listener *ret_listener)
{
	const struct pg_shield *shield = &table->shields[index];

	if (!shield->origin)
		return false;
	memset(ret_listener, 0, sizeof(*ret_listener));
	ret_listener->any = shield->wildcard && !shield->family;
	ret_listener->port = shield->port;
	ret_listener->mode = shield->mode;
	ret_listener->threshold = shield->threshold;
	if (shield->family == 4 && shield->wildcard)
		pg_address_parse("0.0.0.0", &ret_listener->address, NULL);
	else if (!shield->wildcard)
		memcpy(&ret_listener->address, shield->address, sizeof(shield->address));
	return true;
}

bool pg_shield_any(const struct pg_shield_table *table)
{
	for (uint32_t i = 1; i < PG_SHIELDS_MAX; i++)
		if (table->shields[i].origin && table->shields[i].mode != PG_SHIELD_OFF)
			return true;
	return false;
}

/* --- counts ------------------------------------------------------------------------------------
 */

void pg_shield_counts_read(int map, uint32_t index, struct pg_shield_counts *ret_counts)
{
	int cpus = libbpf_num_possible_cpus();
	PG_FREE struct pg_shield_counts *each = calloc(cpus > 0 ? cpus : 1, sizeof(*each));

	memset(ret_counts, 0, sizeof(*ret_counts));
	if (!each || cpus < 1 || bpf_map_lookup_elem(map, &index, each))
		return;
	for (int i = 0; i < cpus; i++) {
#define PG_X(field, ...) ret_counts->field += each[i].field;
		PG_SHIELD_COUNTERS(PG_X)
#undef PG_X
	}
}

void pg_shield_counts_clear(int map, uint32_t index)
{
	int cpus = libbpf_num_possible_cpus();
	PG_FREE struct pg_shield_counts *each = calloc(cpus > 0 ? cpus : 1, sizeof(*each));

	if (each)
		bpf_map_update_elem(map, &index, each, BPF_ANY);
}

/* --- keys --------------------------------------------------------------------------------------
 */

static int set_key(struct pg_shield_env *env, uint32_t slot)
{
	uint64_t key[2];

	if (env->key_slot[slot & 3] == slot + 1)
		return 0;
	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -errno;
	memcpy(env->keys[slot & 3], key, sizeof(key));
	OPENSSL_cleanse(key, sizeof(key));
	env->key_slot[slot & 3] = slot + 1;
	return 0;
}

/*
 * The keys of this slot and the last stand: cookies are out under them. That of this slot is an old
 * one where no agent ran when it began; the slot's number is in the cookie, so no old one fits.
 */
int pg_shield_keys(struct pg_shield_env *env, uint64_t now_ns)
{
	uint32_t slot = pg_shield_slot(now_ns);
	int err = 0;

	for (uint32_t i = 0; i < 4 && !err; i++)
		if (!env->key_slot[i])
			err = set_key(env, slot + ((i - slot) & 3));
	return err ? err : set_key(env, slot + 1);
}
