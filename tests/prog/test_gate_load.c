// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* What loading the gate costs the verifier: a jump here is a kernel that refuses it tomorrow. */
#include "gate_fixture.h"

#define INSTRUCTIONS_MAX 60000 /* processed; the kernel's own bound is 1,000,000 */
#define LOG_STATISTICS	 4

static void load_with_log(char *log, size_t room)
{
	struct gate_bpf *skeleton = gate_bpf__open();

	assert_non_null(skeleton);
	gate_size_maps(skeleton);
	skeleton->rodata->session_mask = SESSIONS - 1;
	assert_int_equal(bpf_program__set_log_level(skeleton->progs.pg_gate, LOG_STATISTICS), 0);
	assert_int_equal(bpf_program__set_log_buf(skeleton->progs.pg_gate, log, room), 0);
	assert_int_equal(gate_bpf__load(skeleton), 0);
	gate_bpf__destroy(skeleton);
}

static void verified_instructions(void **state)
{
	static char log[1 << 16];
	const char *line;
	unsigned int processed;

	load_with_log(log, sizeof(log));
	line = strstr(log, "processed ");
	assert_non_null(line);
	assert_int_equal(sscanf(line, "processed %u insns", &processed), 1);
	print_message("verifier: %u instructions processed, bound %u\n", processed,
		      INSTRUCTIONS_MAX);
	assert_in_range(processed, 1000, INSTRUCTIONS_MAX);
}

/* A pinned link takes only a program of the attach type it was made with. */
static void attach_type_is_set(void **state)
{
	struct gate_bpf *skeleton = gate_bpf__open();

	assert_non_null(skeleton);
	assert_int_equal(bpf_program__expected_attach_type(skeleton->progs.pg_gate), BPF_XDP);
	gate_bpf__destroy(skeleton);
}

/* The kernel cuts longer names, and two that differ at the end would be one. */
static void names_fit(void **state)
{
	struct gate_bpf *skeleton = gate_bpf__open();
	struct bpf_program *program;
	struct bpf_map *map;

	assert_non_null(skeleton);
	bpf_object__for_each_map(map, skeleton->obj)
	{
		if (!strchr(bpf_map__name(map), '.')) /* .rodata and the like are libbpf's */
			assert_in_range(strlen(bpf_map__name(map)), 1, BPF_OBJ_NAME_LEN - 1);
	}
	bpf_object__for_each_program(program, skeleton->obj)
		assert_in_range(strlen(bpf_program__name(program)), 1, BPF_OBJ_NAME_LEN - 1);
	gate_bpf__destroy(skeleton);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verified_instructions),
		cmocka_unit_test(attach_type_is_set),
		cmocka_unit_test(names_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
