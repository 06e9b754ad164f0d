// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "config.h"
#include "store_internal.h"

static int run_mark_clean(struct pg_store *store, void *arguments, struct pg_error *error)
{
	int rc = store->windows_result;
	struct timespec now;

	store->windows_result = 0;
	if (rc)
		return pg_error_set(error, rc,
				    "cannot mark the stop clean in the store %s: a window could "
				    "not be saved: %s; %s",
				    store->shown_path, strerror(-rc), pg_store_remedy(rc));
	clock_gettime(CLOCK_REALTIME, &now);
	rc = pg_sql_meta_set(store, "clean_generation", PG_SQL_INTEGER(store->generation));
	if (!rc)
		rc = pg_sql_meta_set(store, "clean_stop_ms",
				     PG_SQL_INTEGER(now.tv_sec * 1000LL + now.tv_nsec / 1000000));
	return rc;
}

int pg_store_mark_clean(struct pg_store *store, struct pg_error *error)
{
	struct pg_store_request request = {
		.attempt = "mark the stop clean in",
		.run = run_mark_clean,
		.durable = true,
	};

	return pg_store_submit(store, &request, error);
}

static int run_clear_windows(struct pg_store *store, void *arguments, struct pg_error *error)
{
	int rc = PG_SQL_RUN(store, WINDOWS_CLEAR, NULL);

	return rc < 0 ? rc : 0;
}

int pg_store_clear_windows(struct pg_store *store, struct pg_error *error)
{
	struct pg_store_request request = {
		.attempt = "clear the windows in",
		.run = run_clear_windows,
		.durable = true,
	};

	return pg_store_submit(store, &request, error);
}

static int run_nothing(struct pg_store *store, void *arguments, struct pg_error *error)
{
	return 0;
}

/* A request comes after every operation queued before it. */
void pg_store_flush(struct pg_store *store)
{
	struct pg_store_request request = { .attempt = "write to", .run = run_nothing };

	pg_store_submit(store, &request, NULL);
}

uint64_t pg_store_generation(const struct pg_store *store)
{
	return store->generation;
}

enum pg_store_past pg_store_past(const struct pg_store *store)
{
	return store->past;
}

/* The stored key check is bound to rows: without any, another key may take the place. */
static int open_key(struct pg_store *store, const char *key_path, struct pg_error *error)
{
	int64_t sealed = 0, same = 0;
	int rc;

	rc = PG_SQL_RUN(store, ANY_SEALED, &sealed);
	if (rc < 0)
		return pg_store_cannot(store, "read", rc, error);
	rc = pg_machine_key_open(key_path, !sealed, &store->key, error);
	if (rc == -ENOKEY)
		return pg_error_set(error, rc,
				    "the machine key %s is missing, but %s was sealed with it: put "
				    "the key back, or move the store away and provision the "
				    "sessions again, with new secrets",
				    pg_store_path_tail(key_path), store->shown_path);
	if (rc || !sealed)
		return rc;
	rc = PG_SQL_RUN(store, META_IS, &same, PG_SQL_TEXT("key_check"),
			PG_SQL_BLOB(pg_machine_key_check(store->key), PG_MACHINE_KEY_CHECK_BYTES));
	if (rc < 0)
		return pg_store_cannot(store, "read", rc, error);
	if (!same)
		return pg_error_set(error, -EKEYREJECTED,
				    "the machine key %s is not the one that sealed %s: put the "
				    "right key back, or move the store away and provision the "
				    "sessions again, with new secrets",
				    pg_store_path_tail(key_path), store->shown_path);
	return 0;
}

static int check_instance(struct pg_store *store, const char *instance, struct pg_error *error)
{
	int64_t same = 1;
	int rc;

	rc = PG_SQL_RUN(store, META_IS, &same, PG_SQL_TEXT("instance"), PG_SQL_TEXT(instance));
	if (rc < 0)
		return pg_store_cannot(store, "read", rc, error);
	if (same)
		return 0;
	return pg_error_set(error, -EINVAL,
			    "the store %s does not belong to the instance \"%s\": give each "
			    "instance a state directory of its own",
			    store->shown_path, instance);
}

/* Another text after every start of the machine; "" where the kernel does not tell. */
static void read_boot_id(char *text, size_t room)
{
	PG_FCLOSE FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	*text = '\0';
	if (file && fgets(text, (int)room, file))
		text[strcspn(text, "\n")] = '\0';
}

static int judge_past(struct pg_store *store, const char *boot_id)
{
	int64_t generation = 0, clean = -1, same_boot = 0;
	int rc;

	rc = PG_SQL_RUN(store, META_GET, &generation, PG_SQL_TEXT("generation"));
	if (rc >= 0)
		rc = PG_SQL_RUN(store, META_GET, &clean, PG_SQL_TEXT("clean_generation"));
	if (rc >= 0)
		rc = PG_SQL_RUN(store, META_IS, &same_boot, PG_SQL_TEXT("boot_id"),
				PG_SQL_TEXT(boot_id));
	if (rc < 0)
		return rc;
	store->generation = (uint64_t)generation + 1;
	if (!generation)
		store->past = PG_STORE_NEW;
	else if (clean == generation)
		store->past = PG_STORE_CLEAN;
	else
		store->past = same_boot && *boot_id ? PG_STORE_DIED : PG_STORE_REBOOTED;
	return 0;
}

static int begin_generation(struct pg_store *store, const char *instance)
{
	char boot_id[64];
	int64_t handle = 0;
	int rc;

	read_boot_id(boot_id, sizeof(boot_id));
	rc = judge_past(store, boot_id);
	if (!rc)
		rc = pg_sql_meta_set(store, "instance", PG_SQL_TEXT(instance));
	if (!rc)
		rc = pg_sql_meta_set(store, "generation", PG_SQL_INTEGER(store->generation));
	if (!rc)
		rc = pg_sql_meta_set(store, "boot_id", PG_SQL_TEXT(boot_id));
	if (!rc)
		rc = pg_sql_meta_set(
			store, "key_check",
			PG_SQL_BLOB(pg_machine_key_check(store->key), PG_MACHINE_KEY_CHECK_BYTES));
	if (!rc && store->past != PG_STORE_CLEAN)
		rc = PG_SQL_RUN(store, WINDOWS_CLEAR, NULL);
	if (rc >= 0)
		rc = PG_SQL_RUN(store, LAST_HANDLE, &handle);
	store->next_handle = (uint64_t)handle + 1;
	return rc < 0 ? rc : 0;
}

static int adopt(struct pg_store *store, const struct pg_store_options *options,
		 const char *key_path, struct pg_error *error)
{
	bool wrote;
	int rc;

	rc = check_instance(store, options->instance, error);
	if (!rc)
		rc = open_key(store, key_path, error);
	if (rc)
		return rc;
	rc = pg_sql_begin(store);
	if (!rc)
		rc = begin_generation(store, options->instance);
	if (!rc)
		rc = pg_sql_commit(store, &wrote);
	return rc ? pg_store_cannot(store, "write to", rc, error) : 0;
}

static void free_store(struct pg_store *store)
{
	int i;

	if (!store)
		return;
	for (i = 0; i < PG_SQL_STATEMENT_COUNT; i++)
		sqlite3_finalize(store->statements[i]);
	sqlite3_close(store->db);
	pg_machine_key_free(store->key);
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	pthread_cond_destroy(&store->progress);
	pthread_cond_destroy(&store->wake);
	pthread_mutex_destroy(&store->lock);
	free(store->queue);
	free(store->taken);
	free(store->path);
	free(store);
}

static void cleanup_store(struct pg_store **store)
{
	free_store(*store);
}

static struct pg_store *new_store(const char *directory)
{
	PG_CLEANUP(cleanup_store) struct pg_store *store = calloc(1, sizeof(*store));
	pthread_condattr_t monotonic;

	if (!store)
		return NULL;
	store->lock_fd = -1;
	store->requests_end = &store->requests;
	pthread_mutex_init(&store->lock, NULL);
	pthread_cond_init(&store->progress, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&store->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (asprintf(&store->path, "%s/" PG_STORE_FILE, directory) < 0)
		store->path = NULL;
	store->queue = calloc(PG_STORE_QUEUE_MAX, sizeof(*store->queue));
	store->taken = calloc(PG_STORE_QUEUE_MAX, sizeof(*store->taken));
	if (!store->path || !store->queue || !store->taken)
		return NULL;
	store->shown_path = pg_store_path_tail(store->path);
	return TAKE_PTR(store);
}

int pg_store_open(const struct pg_store_options *options, struct pg_store **ret_store,
		  struct pg_error *error)
{
	PG_CLEANUP(cleanup_store) struct pg_store *store = new_store(options->directory);
	PG_FREE char *standard_key = NULL;
	int rc;

	if (!store || asprintf(&standard_key, "%s/" PG_CONFIG_KEY_FILE, options->directory) < 0) {
		standard_key = NULL;
		return pg_error_set(error, -ENOMEM, "cannot open the store: out of memory");
	}
	rc = pg_store_take_directory(store, options->directory, error);
	if (!rc)
		rc = pg_store_open_database(store, error);
	if (!rc)
		rc = adopt(store, options, options->key_path ? options->key_path : standard_key,
			   error);
	if (!rc)
		rc = pg_store_start_thread(store, error);
	if (!rc)
		*ret_store = TAKE_PTR(store);
	return rc;
}

void pg_store_close(struct pg_store *store)
{
	if (!store)
		return;
	pthread_mutex_lock(&store->lock);
	store->stopping = true;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->thread, NULL);
	free_store(store);
}
