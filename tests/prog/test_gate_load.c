// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* What loading the gate costs the verifier: a jump here is a kernel that refuses it tomorrow. */
#include "gate_fixture.h"

#define INSTRUCTIONS_MAX 120000 /* processed; the kernel's own bound is 1,000,000 */
#define LOG_STATISTICS	 4

/* Whether the verifier takes the gate when it may only read this map. */
static bool loads_with_read_only(const char *name)
{
	struct gate_bpf *skeleton = gate_bpf__open();
	struct bpf_map *map;
	bool loads;

	assert_non_null(skeleton);
	gate_size_maps(skeleton);
	map = bpf_object__find_map_by_name(skeleton->obj, name);
	assert_non_null(map);
	assert_int_equal(bpf_map__set_map_flags(map, bpf_map__map_flags(map) | BPF_F_RDONLY_PROG),
			 0);
	loads = !gate_bpf__load(skeleton);
	gate_bpf__destroy(skeleton);
	return loads;
}

static int no_message(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

/* DESIGN section 2, rule 2, as the verifier sees it: the gate writes its own counters alone. */
static void state_is_only_read(void **state)
{
	static const char *const read[] = { "pg_shared",       "pg_ports",    "pg_endpoints",
					    "pg_locals",       "pg_sessions", "pg_windows",
					    "pg_opened",       "pg_streams",  "pg_strm_lines",
					    "pg_strm_windows", "pg_shields",  "pg_shield_ports",
					    "pg_shield_env" };
	static const char *const written[] = { "pg_sources", "pg_acks", "pg_shield_state",
					       "pg_shield_marks" };
	libbpf_print_fn_t print;

	for (size_t i = 0; i < ARRAY_SIZE(read); i++)
		if (!loads_with_read_only(read[i]))
			fail_msg("the gate writes to %s", read[i]);
	print = libbpf_set_print(no_message);
	for (size_t i = 0; i < ARRAY_SIZE(written); i++)
		assert_false(loads_with_read_only(written[i]));
	libbpf_set_print(print);
}

static void load_with_log(char *log, size_t room)
{
	struct gate_bpf *skeleton = gate_bpf__open();

	assert_non_null(skeleton);
	gate_size_maps(skeleton);
	skeleton->rodata->session_mask = SESSIONS - 1;
	skeleton->rodata->acks_here = true;
	assert_int_equal(bpf_program__set_log_level(skeleton->progs.pg_gate, LOG_STATISTICS), 0);
	assert_int_equal(bpf_program__set_log_buf(skeleton->progs.pg_gate, log, room), 0);
	assert_int_equal(gate_bpf__load(skeleton), 0);
	gate_bpf__destroy(skeleton);
}

static void verified_instructions(void **state)
{
	static char log[1 << 16];
	unsigned int processed;
	const char *line;

	load_with_log(log, sizeof(log));
	line = strstr(log, "processed ");
	assert_non_null(line);
	assert_int_equal(sscanf(line, "processed %u insns", &processed), 1);
	print_message("pg_gate: %u instructions processed, bound %u\n", processed,
		      INSTRUCTIONS_MAX);
	assert_in_range(processed, 1000, INSTRUCTIONS_MAX);
}

/* Where the kernel's HZ cannot be read, 0 stands for it, and the coarse clock is the tick. */
static void loads_on_the_coarse_clock(void **state)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .kconfig = "CONFIG_HZ=0\n");
	struct gate_bpf *skeleton = gate_bpf__open_opts(&options);

	assert_non_null(skeleton);
	gate_size_maps(skeleton);
	assert_int_equal(gate_bpf__load(skeleton), 0);
	gate_bpf__destroy(skeleton);
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
		cmocka_unit_test(state_is_only_read),
		cmocka_unit_test(loads_on_the_coarse_clock),
		cmocka_unit_test(attach_type_is_set),
		cmocka_unit_test(names_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
