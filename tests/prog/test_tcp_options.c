// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* The same option areas through the shield's reading in BPF and through a plain one. */
#include "gate_fixture.h"
#include "mutate.h"
#include "options.h"
#include "options.skel.h"
#include "options_reference.h"

#define AREAS  1000000
#define HEADER 20

struct row {
	const char *name;
	uint8_t bytes[PG_OPTION_BYTES_MAX];
	uint8_t words;
	struct pg_tcp_options found;
};

#define NONE	 .base.scale = PG_SHIELD_NO_SCALE
#define MSS_1460 2, 4, 5, 180
#define TIMES	 8, 10, 1, 2, 3, 4, 5, 6, 7, 8
#define TIMED	 .timed = 1, .time = 0x01020304, .echo = 0x05060708

static const struct row rows[] = {
	{ "none", { 0 }, 0, { NONE } },
	{ "nothing but the end", { 0 }, 1, { NONE } },
	{ "what stands behind the end", { 0, 0, 0, 0, MSS_1460 }, 2, { NONE } },
	{ "what stands behind the header", { 1, 1, 1, 1, MSS_1460 }, 1, { NONE } },
	{ "MSS", { MSS_1460 }, 1, { .base = { 1460, PG_SHIELD_NO_SCALE, 0 } } },
	{ "MSS at no word's start", { 1, MSS_1460 }, 2, { .base = { 1460, 15, 0 } } },
	{ "MSS cut off by the header", { 1, MSS_1460 }, 1, { NONE } },
	{ "MSS of a false length", { 2, 3, 5, 0, 2, 5, 1, 1, 1 }, 3, { NONE } },
	{ "the later MSS", { 2, 4, 1, 1, MSS_1460 }, 2, { .base = { 1460, 15, 0 } } },
	{ "length 0", { 2, 0, 5, 180, MSS_1460 }, 2, { NONE } },
	{ "length 1", { 99, 1, 5, 180, MSS_1460 }, 2, { NONE } },
	{ "length behind the end", { MSS_1460, 99, 5 }, 2, { .base = { 1460, 15, 0 } } },
	{ "length at the end", { MSS_1460, 99, 4 }, 2, { .base = { 1460, 15, 0 } } },
	{ "a kind without a length", { 1, 1, 1, 4 }, 1, { NONE } },
	{ "unknown in front", { 34, 6, 1, 2, 3, 4, 4, 2 }, 2, { .base = { 0, 15, 1 } } },
	{ "scale 14", { 3, 3, 14 }, 1, { .base = { 0, 14, 0 } } },
	{ "scale 15", { 3, 3, 15 }, 1, { .base = { 0, 14, 0 } } },
	{ "scale 255", { 3, 3, 255 }, 1, { .base = { 0, 14, 0 } } },
	{ "times, the common 12 bytes", { 1, 1, TIMES }, 3, { NONE, TIMED } },
	{ "times elsewhere", { TIMES, 1, 1 }, 3, { NONE, TIMED } },
	{ "Linux", { MSS_1460, 4, 2, TIMES, 1, 3, 3, 7 }, 5, { .base = { 1460, 7, 1 }, TIMED } },
	{ "Linux, scale 15",
	  { MSS_1460, 4, 2, TIMES, 1, 3, 3, 15 },
	  5,
	  { .base = { 1460, 14, 1 }, TIMED } },
	{ "Linux, and more",
	  { MSS_1460, 4, 2, TIMES, 1, 3, 3, 7, 34, 2, 1, 1 },
	  6,
	  { .base = { 1460, 7, 1 }, TIMED } },
	{ "40 bytes, the last two an option",
	  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 2 },
	  10,
	  { .base = { 0, 15, 1 } } },
};

static void put(struct options_case *c, const uint8_t *bytes, uint32_t words)
{
	memset(c, 0x5a, sizeof(*c));
	memcpy(c->header + HEADER, bytes, PG_OPTION_BYTES_MAX);
	c->header[12] = (5 + words) << 4;
}

static void read_batch(const struct options_bpf *skeleton)
{
	uint8_t packet[14] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet));

	assert_int_equal(
		bpf_prog_test_run_opts(bpf_program__fd(skeleton->progs.read_all), &options), 0);
	assert_int_equal(options.retval, XDP_PASS);
}

static void rows_hold(void **state)
{
	struct options_bpf *skeleton = *state;
	struct options_case *cases = gate_map_memory(skeleton->maps.options_cases);
	int wrong = 0;

	for (uint32_t i = 0; i < OPTIONS_BATCH; i++)
		put(&cases[i], rows[i % ARRAY_SIZE(rows)].bytes, rows[i % ARRAY_SIZE(rows)].words);
	read_batch(skeleton);
	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct pg_tcp_options plain = options_reference(rows[i].bytes, rows[i].words * 4);

		if (options_same(&cases[i].walk.found, &rows[i].found) &&
		    options_same(&plain, &rows[i].found))
			continue;
		print_error("%s: read wrongly\n", rows[i].name);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

/* Options of the right form one behind another, with a wrong byte now and then. */
static void draw_area(struct noise *noise, uint8_t *bytes)
{
	static const uint8_t heads[][2] = { { 2, 4 }, { 3, 3 },	 { 4, 2 },  { 8, 10 },
					    { 1, 1 }, { 34, 6 }, { 5, 10 }, { 0, 0 } };
	uint32_t at = 0;

	noise_fill(noise, bytes, PG_OPTION_BYTES_MAX);
	if (!noise_below(noise, 8))
		return;
	while (at + 1 < PG_OPTION_BYTES_MAX) {
		const uint8_t *head = heads[noise_below(noise, noise_below(noise, 8) ? 7 : 8)];

		memcpy(bytes + at, head, 2);
		at += head[1] ? head[1] : 2;
	}
	if (!noise_below(noise, 4))
		bytes[noise_below(noise, PG_OPTION_BYTES_MAX)] = noise_below(noise, 12);
}

/* One in four is Linux's own but for its values, and for one byte sometimes. */
static void draw_linux(struct noise *noise, uint8_t *bytes)
{
	static const uint8_t syn[] = { MSS_1460, 4, 2, TIMES, 1, 3, 3, 7 };

	memcpy(bytes, syn, sizeof(syn));
	noise_fill(noise, bytes + 8, 8);
	bytes[3] = noise_below(noise, 256);
	bytes[19] = noise_below(noise, 20);
	if (!noise_below(noise, 3))
		bytes[noise_below(noise, sizeof(syn))] ^= 1 << noise_below(noise, 8);
}

static void draw(struct noise *noise, struct options_case *c)
{
	uint8_t bytes[PG_OPTION_BYTES_MAX];

	draw_area(noise, bytes);
	if (noise_below(noise, 4)) {
		put(c, bytes, noise_below(noise, 11));
		return;
	}
	draw_linux(noise, bytes);
	put(c, bytes, noise_below(noise, 4) ? 5 : noise_below(noise, 11));
}

static void print_area(const struct options_case *c)
{
	print_error("%u words:", c->header[12] / 16 - 5);
	for (uint32_t i = 0; i < PG_OPTION_BYTES_MAX; i++)
		print_error(" %02x", c->header[HEADER + i]);
	print_error("\n");
}

static void readings_agree(void **state)
{
	struct options_bpf *skeleton = *state;
	struct options_case *cases = gate_map_memory(skeleton->maps.options_cases);
	struct noise noise = noise_start("readings_agree");
	uint32_t timed = 0, scaled = 0, wrong = 0;

	for (uint32_t done = 0; done < AREAS; done += OPTIONS_BATCH) {
		for (uint32_t i = 0; i < OPTIONS_BATCH; i++)
			draw(&noise, &cases[i]);
		read_batch(skeleton);
		for (uint32_t i = 0; i < OPTIONS_BATCH; i++) {
			const struct options_case *c = &cases[i];
			struct pg_tcp_options plain =
				options_reference(c->header + HEADER, (c->header[12] / 16 - 5) * 4);

			timed += plain.timed;
			scaled += plain.base.scale != PG_SHIELD_NO_SCALE;
			if (options_same(&c->walk.found, &plain))
				continue;
			print_area(c);
			assert_true(++wrong < 10);
		}
	}
	assert_int_equal(wrong, 0);
	assert_in_range(timed, AREAS / 10, AREAS);
	assert_in_range(scaled, AREAS / 10, AREAS);
}

static int setup(void **state)
{
	*state = options_bpf__open_and_load();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	options_bpf__destroy(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_hold),
		cmocka_unit_test(readings_agree),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
