// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "machine_key.h"

#define LABEL	    "label"
#define PATH_ROOM   300
#define MAKERS	    8
#define PLAIN_BYTES 19

static char root[PATH_ROOM - 32];

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	const char *folder = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/pg-machine-key-XXXXXX", folder ? folder : "/tmp");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *in_root(const char *name)
{
	static char path[PATH_ROOM];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

static void write_key(const char *path, size_t bytes, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	uint8_t byte;
	size_t i;

	assert_int_not_equal(fd, -1);
	for (i = 0; i < bytes; i++) {
		byte = (uint8_t)i;
		assert_int_equal(write(fd, &byte, 1), 1);
	}
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct pg_machine_key *open_key(const char *path, bool may_create)
{
	struct pg_machine_key *key = NULL;
	struct pg_error error = { "" };

	if (pg_machine_key_open(path, may_create, &key, &error))
		fail_msg("%s", error.text);
	return key;
}

static int entries;

static int count_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	entries += type == FTW_F;
	return 0;
}

static void test_made_once(void **state)
{
	uint8_t check[PG_MACHINE_KEY_CHECK_BYTES];
	struct pg_machine_key *key;
	struct stat status;

	key = open_key(in_root("key"), true);
	memcpy(check, pg_machine_key_check(key), sizeof(check));
	pg_machine_key_free(key);
	assert_int_equal(stat(in_root("key"), &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	assert_int_equal(status.st_size, PG_MACHINE_KEY_BYTES);

	key = open_key(in_root("key"), true);
	assert_memory_equal(pg_machine_key_check(key), check, sizeof(check));
	pg_machine_key_free(key);
	key = open_key(in_root("other"), true);
	assert_memory_not_equal(pg_machine_key_check(key), check, sizeof(check));
	pg_machine_key_free(key);

	entries = 0;
	nftw(root, count_entry, 8, FTW_PHYS);
	assert_int_equal(entries, 2);
}

struct refusal_row {
	const char *name;
	void (*make)(const char *path);
	bool may_create;
	int rc;
	const char *phrase;
};

static void make_nothing(const char *path)
{
}

static void make_group_readable(const char *path)
{
	write_key(path, 32, 0640);
}

static void make_world_readable(const char *path)
{
	write_key(path, 32, 0604);
}

static void make_world_writable(const char *path)
{
	write_key(path, 32, 0602);
}

static void make_short(const char *path)
{
	write_key(path, 31, 0600);
}

static void make_long(const char *path)
{
	write_key(path, 33, 0600);
}

static void make_empty(const char *path)
{
	write_key(path, 0, 0600);
}

static void make_folder(const char *path)
{
	assert_int_equal(mkdir(path, 0700), 0);
}

static void make_fifo(const char *path)
{
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void make_dangling(const char *path)
{
	assert_int_equal(symlink("nowhere", path), 0);
}

static const struct refusal_row refusals[] = {
	{ "missing", make_nothing, false, -ENOKEY, "missing" },
	{ "folder-missing/key", make_nothing, true, -ENOENT, "cannot make" },
	{ "group", make_group_readable, true, -EPERM, "0600" },
	{ "world", make_world_readable, true, -EPERM, "0604" },
	{ "writable", make_world_writable, true, -EPERM, "open to others" },
	{ "short", make_short, true, -EINVAL, "less bytes than 32" },
	{ "long", make_long, true, -EINVAL, "more bytes than 32" },
	{ "empty", make_empty, true, -EINVAL, "less bytes than 32" },
	{ "folder", make_folder, true, -EINVAL, "not a file" },
	{ "fifo", make_fifo, true, -EINVAL, "not a file" },
	{ "dangling", make_dangling, true, -ENOKEY, "missing" },
};

static void test_refusals(void **state)
{
	struct pg_machine_key *const untouched = (void *)1;
	struct pg_machine_key *key = untouched;
	struct pg_error error;
	size_t i;
	int rc;

	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		const struct refusal_row *row = &refusals[i];
		const char *path = in_root(row->name);

		row->make(path);
		*error.text = '\0';
		rc = pg_machine_key_open(path, row->may_create, &key, &error);
		if (rc != row->rc || !strstr(error.text, row->phrase) ||
		    !strstr(error.text, row->name) || key != untouched)
			fail_msg("%s: %d \"%s\"", row->name, rc, error.text);
		assert_int_equal(pg_machine_key_open(path, row->may_create, &key, NULL), rc);
	}
}

static void test_foreign_owner(void **state)
{
	struct pg_machine_key *key = NULL;
	struct pg_error error;

	if (geteuid()) {
		print_message("only root can give a file away\n");
		skip();
	}
	write_key(in_root("key"), 32, 0600);
	assert_int_equal(chown(in_root("key"), 12345, 12345), 0);
	assert_int_equal(pg_machine_key_open(in_root("key"), true, &key, &error), -EPERM);
	assert_non_null(strstr(error.text, "12345"));
}

/* A key is often a link into a mounted secret. */
static void test_link(void **state)
{
	write_key(in_root("real"), 32, 0600);
	assert_int_equal(symlink("real", in_root("link")), 0);
	pg_machine_key_free(open_key(in_root("link"), false));
}

static int make_in_child(int start_fd, int result_fd)
{
	struct pg_machine_key *key = NULL;
	char byte;

	if (read(start_fd, &byte, 1) || pg_machine_key_open(in_root("key"), true, &key, NULL) ||
	    write(result_fd, pg_machine_key_check(key), PG_MACHINE_KEY_CHECK_BYTES) !=
		    PG_MACHINE_KEY_CHECK_BYTES)
		return 1;
	pg_machine_key_free(key);
	return 0;
}

static void test_made_by_many(void **state)
{
	uint8_t first[PG_MACHINE_KEY_CHECK_BYTES], next[PG_MACHINE_KEY_CHECK_BYTES];
	int start[2], result[2], i, status;

	assert_int_equal(pipe(start), 0);
	assert_int_equal(pipe(result), 0);
	for (i = 0; i < MAKERS; i++) {
		pid_t pid = fork();

		assert_int_not_equal(pid, -1);
		if (!pid) {
			close(start[1]);
			_exit(make_in_child(start[0], result[1]));
		}
	}
	close(start[1]);
	for (i = 0; i < MAKERS; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(read(result[0], first, sizeof(first)), sizeof(first));
	for (i = 1; i < MAKERS; i++) {
		assert_int_equal(read(result[0], next, sizeof(next)), sizeof(next));
		assert_memory_equal(first, next, sizeof(first));
	}
	entries = 0;
	nftw(root, count_entry, 8, FTW_PHYS);
	assert_int_equal(entries, 1);
	close(start[0]);
	close(result[0]);
	close(result[1]);
}

/* Computed by another implementation from the key 00 01 .. 1f. */
static void test_known_answers(void **state)
{
	static const uint8_t check[] = { 0x22, 0xca, 0xd1, 0x6b, 0xbd, 0x38, 0x9a, 0x03,
					 0xb4, 0x26, 0x71, 0xd3, 0xf5, 0xd5, 0x92, 0x11 };
	static const uint8_t hash_of_abc[] = { 0x38, 0xe5, 0x4f, 0x7e, 0x67, 0x33, 0x01, 0x04,
					       0x32, 0x66, 0x72, 0xb3, 0x77, 0x5f, 0xf7, 0x70,
					       0xb5, 0xb4, 0x13, 0x3e, 0x03, 0x3b, 0xea, 0x56,
					       0x6c, 0xec, 0xae, 0x21, 0x29, 0xf9, 0xca, 0x97 };
	static const uint8_t sealed[] = { 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b,
					  0x6c, 0x6d, 0x6e, 0x6f, 0x90, 0xc5, 0x9a, 0xd4,
					  0xd9, 0x39, 0x7b, 0x0b, 0x1f, 0x85, 0x53, 0x8b,
					  0xf6, 0xca, 0x32, 0xc2, 0xa7, 0x89, 0x89, 0xc0,
					  0xb7, 0xe1, 0xc7, 0x45, 0x35, 0xf9, 0x83, 0x6f,
					  0xae, 0xc2, 0xbc, 0x4f, 0x6a, 0x3c, 0x1a };
	uint8_t hash[PG_MACHINE_KEY_HASH_BYTES], plain[PLAIN_BYTES];
	struct pg_machine_key *key;

	write_key(in_root("key"), 32, 0600);
	key = open_key(in_root("key"), false);
	assert_memory_equal(pg_machine_key_check(key), check, sizeof(check));
	assert_int_equal(pg_machine_key_hash(key, "abc", 3, hash), 0);
	assert_memory_equal(hash, hash_of_abc, sizeof(hash));
	assert_int_equal(sizeof(sealed), PLAIN_BYTES + PG_MACHINE_KEY_SEAL_BYTES);
	assert_int_equal(pg_machine_key_unseal(key, LABEL, 7, sealed, sizeof(sealed), plain), 0);
	assert_memory_equal(plain, "secret of a session", PLAIN_BYTES);
	pg_machine_key_free(key);
}

static void test_round_trip(void **state)
{
	static const size_t sizes[] = { 0, 1, 32, 64, 1000 };
	uint8_t plain[1000], opened[1000], sealed[1000 + PG_MACHINE_KEY_SEAL_BYTES];
	uint8_t again[sizeof(sealed)];
	struct pg_machine_key *key = open_key(in_root("key"), true);
	size_t i, bytes;

	memset(plain, 0x5a, sizeof(plain));
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		bytes = sizes[i] + PG_MACHINE_KEY_SEAL_BYTES;
		assert_int_equal(pg_machine_key_seal(key, LABEL, 1, plain, sizes[i], sealed), 0);
		assert_int_equal(pg_machine_key_seal(key, LABEL, 1, plain, sizes[i], again), 0);
		assert_memory_not_equal(sealed, again, 12);
		assert_int_equal(pg_machine_key_unseal(key, LABEL, 1, sealed, bytes, opened), 0);
		assert_memory_equal(plain, opened, sizes[i]);
	}
	pg_machine_key_free(key);
}

static void expect_closed(const struct pg_machine_key *key, const char *label, uint64_t number,
			  const uint8_t *sealed, size_t bytes, const char *what)
{
	static const uint8_t zeros[PLAIN_BYTES];
	uint8_t plain[PLAIN_BYTES] = { 0 };

	if (pg_machine_key_unseal(key, label, number, sealed, bytes, plain) != -EBADMSG)
		fail_msg("%s: opened", what);
	assert_memory_equal(plain, zeros, sizeof(plain));
}

static void test_forgeries(void **state)
{
	uint8_t sealed[PLAIN_BYTES + PG_MACHINE_KEY_SEAL_BYTES];
	struct pg_machine_key *key = open_key(in_root("key"), true);
	struct pg_machine_key *other = open_key(in_root("other"), true);
	size_t i;

	assert_int_equal(
		pg_machine_key_seal(key, LABEL, 7, "secret of a session", PLAIN_BYTES, sealed), 0);
	expect_closed(key, "labe", 7, sealed, sizeof(sealed), "shorter label");
	expect_closed(key, "Label", 7, sealed, sizeof(sealed), "other label");
	expect_closed(key, LABEL, 8, sealed, sizeof(sealed), "next number");
	expect_closed(key, LABEL, 7ull << 56, sealed, sizeof(sealed), "number in other order");
	expect_closed(other, LABEL, 7, sealed, sizeof(sealed), "other key");
	for (i = 0; i < sizeof(sealed); i++)
		expect_closed(key, LABEL, 7, sealed, i, "truncated");
	for (i = 0; i < sizeof(sealed) * 8; i++) {
		sealed[i / 8] ^= (uint8_t)(1 << i % 8);
		expect_closed(key, LABEL, 7, sealed, sizeof(sealed), "changed bit");
		sealed[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	pg_machine_key_free(key);
	pg_machine_key_free(other);
}

static void test_hash(void **state)
{
	uint8_t a[PG_MACHINE_KEY_HASH_BYTES], b[PG_MACHINE_KEY_HASH_BYTES];
	struct pg_machine_key *key = open_key(in_root("key"), true);
	struct pg_machine_key *other = open_key(in_root("other"), true);

	assert_int_equal(pg_machine_key_hash(key, "secret id", 9, a), 0);
	assert_int_equal(pg_machine_key_hash(key, "secret id", 9, b), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(pg_machine_key_hash(key, "secret ie", 9, b), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_int_equal(pg_machine_key_hash(other, "secret id", 9, b), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	pg_machine_key_free(key);
	pg_machine_key_free(other);
	pg_machine_key_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_made_by_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_known_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forgeries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hash, setup, teardown),
	};

	return cmocka_run_group_tests_name("machine_key", tests, NULL, NULL);
}
