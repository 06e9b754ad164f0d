// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* The fuzz targets over their stored inputs, every prefix of them and every flipped bit. */
#define LLVMFuzzerTestOneInput fuzz_frame
#include "fuzz/fuzz_frame.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_packet
#include "fuzz/fuzz_packet.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_app_record
#include "fuzz/fuzz_app_record.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_message
#include "fuzz/fuzz_message.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_decode
#include "fuzz/fuzz_decode.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_follow
#include "fuzz/fuzz_follow.c"
#undef LLVMFuzzerTestOneInput

#define LLVMFuzzerTestOneInput fuzz_engine
#include "fuzz/fuzz_engine.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_handshake
#include "fuzz/fuzz_handshake.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_tcp_options
#include "fuzz/fuzz_tcp_options.c"
#undef LLVMFuzzerTestOneInput

#define CORPUS	  "tests/fuzz/corpus"
#define INPUT_MAX 66000

typedef int (*target)(const uint8_t *data, size_t bytes);

static void replay_one(target run, const char *path)
{
	static uint8_t input[INPUT_MAX];
	FILE *file = fopen(path, "rb");
	size_t bytes;

	if (!file)
		fail_msg("cannot open %s: %s", path, strerror(errno));
	bytes = fread(input, 1, sizeof(input), file);
	fclose(file);
	run(input, bytes);
	if (bytes > 600)
		return;
	for (size_t cut = 0; cut < bytes; cut++)
		run(input, cut);
	for (size_t bit = 0; bit < 8 * bytes; bit++) {
		input[bit / 8] ^= 1 << bit % 8;
		run(input, bytes);
		input[bit / 8] ^= 1 << bit % 8;
	}
}

static void replay(const char *name, target run)
{
	char folder[256], path[600];
	struct dirent *entry;
	uint32_t count = 0;
	DIR *directory;

	snprintf(folder, sizeof(folder), "%s/%s", CORPUS, name);
	directory = opendir(folder);
	if (!directory)
		fail_msg("cannot open %s: %s; run from the top of the source", folder,
			 strerror(errno));
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		replay_one(run, path);
		count++;
	}
	closedir(directory);
	assert_true(count >= 5);
}

static void test_frame(void **state)
{
	replay("fuzz_frame", fuzz_frame);
}

static void test_packet(void **state)
{
	replay("fuzz_packet", fuzz_packet);
}

static void test_app_record(void **state)
{
	replay("fuzz_app_record", fuzz_app_record);
}

static void test_message(void **state)
{
	replay("fuzz_message", fuzz_message);
}

static void test_decode(void **state)
{
	replay("fuzz_decode", fuzz_decode);
}

static void test_follow(void **state)
{
	replay("fuzz_follow", fuzz_follow);
}

static void test_engine(void **state)
{
	replay("fuzz_engine", fuzz_engine);
	for (int i = 0; i < 2; i++)
		pg_key_cache_free(fuzz_cache[i]);
	pg_aead_free(fuzz_aead);
}

static void test_handshake(void **state)
{
	replay("fuzz_handshake", fuzz_handshake);
}

static void test_tcp_options(void **state)
{
	replay("fuzz_tcp_options", fuzz_tcp_options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),	    cmocka_unit_test(test_packet),
		cmocka_unit_test(test_app_record),  cmocka_unit_test(test_message),
		cmocka_unit_test(test_decode),	    cmocka_unit_test(test_follow),
		cmocka_unit_test(test_engine),	    cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_tcp_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
