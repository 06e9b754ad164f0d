// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "client_state.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FILE_BYTES   4096

static const uint8_t secret[PG_SECRET_BYTES] = "32 bytes that nobody else knows";
static char directory[] = "/var/tmp/pg_client_state.XXXXXX";
static char path[64], other[64];

static struct pg_client_state_of the_session(void)
{
	return (struct pg_client_state_of){
		.secret = secret, .session = 0x12345678, .aead = 1, .policy = 0, .guard = true
	};
}

static int open_at(const char *at, const struct pg_client_state_of *of,
		   struct pg_client_state *ret_state)
{
	struct pg_error error = { "" };
	int err = pg_client_state_open(at, of, ret_state, &error);

	assert_int_equal(!err, !error.text[0]);
	if (err)
		assert_non_null(strstr(error.text, at));
	return err;
}

static int open_it(struct pg_client_state *ret_state)
{
	struct pg_client_state_of of = the_session();

	return open_at(path, &of, ret_state);
}

/* What an end of the process leaves, whichever it was. */
static void die(struct pg_client_state *state)
{
	munmap(state->memory, FILE_BYTES);
	close(state->fd);
}

static struct pg_client_memory read_file(void)
{
	struct pg_client_memory memory;
	int fd = open(path, O_RDONLY);

	assert_int_equal(read(fd, &memory, sizeof(memory)), sizeof(memory));
	close(fd);
	return memory;
}

static void write_file(const struct pg_client_memory *memory)
{
	int fd = open(path, O_WRONLY);

	assert_int_equal(pwrite(fd, memory, sizeof(*memory), 0), sizeof(*memory));
	close(fd);
}

static int set_up(void **context)
{
	struct pg_client_state state;

	unlink(path);
	unlink(other);
	assert_int_equal(open_it(&state), 0);
	pg_client_state_close(&state);
	return 0;
}

/* --- from run to run ---------------------------------------------------------------------------
 */

static void test_first_run(void **context)
{
	struct pg_client_memory zero = { 0 };
	struct pg_client_state state;
	struct stat st;

	unlink(path);
	assert_int_equal(open_it(&state), 0);
	assert_memory_equal(&state.memory->window, &zero.window, sizeof(zero.window));
	assert_int_equal(state.memory->highest, 0);
	assert_int_equal(state.memory->next_stream, 0);
	/* the disk knows that it is in use before anything can be sent */
	assert_int_equal(read_file().running, 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	pg_client_state_close(&state);
	assert_int_equal(read_file().running, 0);
	pg_client_state_close(&state); /* nothing is left to close */
}

static void use(struct pg_client_state *state, uint32_t number)
{
	state->memory->window.next_send = number;
	state->memory->window.sent_time_ms = 1000 + number;
	state->memory->highest = 2 * number;
	state->memory->next_stream = 3 * number;
}

static void expect_used(const struct pg_client_state *state, uint32_t number)
{
	assert_int_equal(state->memory->window.next_send, number);
	assert_int_equal(state->memory->window.sent_time_ms, 1000 + number);
	assert_int_equal(state->memory->highest, 2 * number);
	assert_int_equal(state->memory->next_stream, 3 * number);
}

static void test_runs(void **context)
{
	struct pg_client_state state;

	for (uint32_t run = 1; run < 5; run++) {
		assert_int_equal(open_it(&state), 0);
		if (run > 1)
			expect_used(&state, run - 1);
		use(&state, run);
		/* in order, or not */
		if (run & 1)
			die(&state);
		else
			pg_client_state_close(&state);
	}
}

static void test_one_at_a_time(void **context)
{
	struct pg_client_state state, second = { .fd = 77 };

	assert_int_equal(open_it(&state), 0);
	assert_int_equal(open_it(&second), -EBUSY);
	assert_int_equal(second.fd, 77);
	pg_client_state_close(&state);
	assert_int_equal(open_it(&second), 0);
	pg_client_state_close(&second);
}

/* --- what is refused ---------------------------------------------------------------------------
 */

static void test_another_session(void **context)
{
	static const uint8_t another[PG_SECRET_BYTES] = "32 bytes that nobody else knowz";
	static const struct {
		const char *name;
		struct pg_client_state_of of;
		int err;
	} rows[] = {
		{ "the same", { secret, 0x12345678, 1, 0, true }, 0 },
		{ "secret", { another, 0x12345678, 1, 0, true }, -EKEYREJECTED },
		{ "client id", { secret, 0x12355678, 1, 0, true }, -EKEYREJECTED },
		{ "server id", { secret, 0x12345679, 1, 0, true }, -EKEYREJECTED },
		{ "AEAD", { secret, 0x12345678, 2, 0, true }, -EKEYREJECTED },
		{ "policy", { secret, 0x12345678, 1, 1, true }, -EKEYREJECTED },
		{ "guard", { secret, 0x12345678, 1, 0, false }, -EKEYREJECTED },
	};
	struct pg_client_state state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		print_message("%s\n", rows[i].name);
		assert_int_equal(open_at(path, &rows[i].of, &state), rows[i].err);
		if (!rows[i].err)
			pg_client_state_close(&state);
		assert_int_equal(read_file().running, 0);
	}
}

static void test_what_the_file_says(void **context)
{
	static const struct {
		const char *name;
		size_t at;
		uint8_t value, running, ended;
		int err;
	} rows[] = {
#define AT(member) offsetof(struct pg_client_memory, member)
		{ "as it is", AT(reserved), 0, 0, 0, 0 },
		{ "killed, this boot", AT(reserved), 0, 1, 0, 0 },
		{ "in order, another boot", AT(boot), 'x', 0, 0, 0 },
		{ "killed, another boot", AT(boot), 'x', 1, 0, -ESTALE },
		{ "ended", AT(reserved), 0, 0, 1, -EKEYEXPIRED },
		{ "magic", AT(magic), 'q', 0, 0, -EUCLEAN },
		{ "version", AT(version), 2, 0, 0, -EUCLEAN },
		{ "size", AT(bytes), 1, 0, 0, -EUCLEAN },
		{ "copy", AT(inode) + 7, 1, 0, 0, -ESTALE },
#undef AT
	};
	struct pg_client_state state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct pg_client_memory memory;

		print_message("%s\n", rows[i].name);
		set_up(NULL);
		memory = read_file();
		((uint8_t *)&memory)[rows[i].at] = rows[i].value;
		memory.running = rows[i].running;
		memory.ended = rows[i].ended;
		write_file(&memory);
		assert_int_equal(open_it(&state), rows[i].err);
		if (!rows[i].err)
			pg_client_state_close(&state);
		else
			assert_int_equal(read_file().running, rows[i].running);
	}
}

static void test_damaged(void **context)
{
	static const off_t sizes[] = { 1, 8, sizeof(struct pg_client_memory), FILE_BYTES - 1,
				       FILE_BYTES + 1 };
	struct pg_client_state state;

	for (size_t i = 0; i < COUNT(sizes); i++) {
		set_up(NULL);
		assert_int_equal(truncate(path, sizes[i]), 0);
		assert_int_equal(open_it(&state), -EUCLEAN);
	}
	set_up(NULL);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, FILE_BYTES), 0); /* zeroes, as after a crash */
	assert_int_equal(open_it(&state), -EUCLEAN);
}

static void test_the_file_itself(void **context)
{
	struct pg_client_state_of of = the_session();
	struct pg_client_state state;
	char nowhere[sizeof(path) + 8];

	snprintf(nowhere, sizeof(nowhere), "%s.d/file", path);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(open_it(&state), -EPERM);
	assert_int_equal(chmod(path, 0604), 0);
	assert_int_equal(open_it(&state), -EPERM);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(link(path, other), 0);
	assert_int_equal(open_it(&state), -EPERM);
	unlink(other);
	assert_int_equal(symlink(path, other), 0);
	assert_int_equal(open_at(other, &of, &state), -ELOOP);
	assert_int_equal(open_at(directory, &of, &state), -EISDIR);
	assert_int_equal(open_at(nowhere, &of, &state), -ENOENT);
	assert_int_equal(open_it(&state), 0);
	pg_client_state_close(&state);
}

/* What forgets at a reboot cannot say that nothing was sent. */
static void test_memory_file_system(void **context)
{
	struct pg_client_state_of of = the_session();
	struct pg_client_state state;
	char in_memory[64];

	if (access("/dev/shm", W_OK))
		skip();
	snprintf(in_memory, sizeof(in_memory), "/dev/shm/pg_client_state.%d", getpid());
	assert_int_equal(open_at(in_memory, &of, &state), -EOPNOTSUPP);
	assert_int_equal(access(in_memory, F_OK), -1); /* nor is an empty file left */
}

static void test_no_keys(void **context)
{
	struct pg_client_memory memory = read_file();
	struct pg_keys keys;

	assert_int_equal(pg_keys_derive(secret, sizeof(secret), &keys), 0);
	assert_null(memmem(&memory, sizeof(memory), secret, 8));
	for (int i = 0; i < 2; i++)
		assert_null(memmem(&memory, sizeof(memory), keys.direction[i].guard, 8));
	pg_keys_wipe(&keys);
}

static int make_directory(void **context)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/state", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	return 0;
}

static int remove_directory(void **context)
{
	unlink(path);
	unlink(other);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_first_run, set_up),
		cmocka_unit_test_setup(test_runs, set_up),
		cmocka_unit_test_setup(test_one_at_a_time, set_up),
		cmocka_unit_test_setup(test_another_session, set_up),
		cmocka_unit_test_setup(test_what_the_file_says, set_up),
		cmocka_unit_test_setup(test_damaged, set_up),
		cmocka_unit_test_setup(test_the_file_itself, set_up),
		cmocka_unit_test_setup(test_memory_file_system, set_up),
		cmocka_unit_test_setup(test_no_keys, set_up),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
