// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* Shakehands in the gate: off, steered within a source's rate, answered with a cookie. */
#include "gate_fixture.h"
#include "packgate/cookie.h"

#define EPOCH	   7
#define PLAIN_TAGS 3

#define COOKIES ((struct verdict){ .action = XDP_TX, .counter = PG_COUNT_COOKIES + 1 })

/* Every shakehand for an endpoint that takes them is counted as one, too. */
static struct verdict counted(struct verdict want)
{
	want.also = PG_COUNT_SHAKEHANDS + 1;
	return want;
}

static void set_handshake(struct gate *gate, bool cookie_due)
{
	GATE_EDIT_ENDPOINTS(gate, handshake, 1);
	gate->shared->cookie_due = cookie_due;
	gate->shared->cookies.epoch = EPOCH;
	for (int i = 0; i < PG_COOKIE_EPOCHS; i++) {
		gate->shared->cookies.key[i][0] = 0x1111111111111111ull * (i + 1);
		gate->shared->cookies.key[i][1] = 0x0123456789abcdefull ^ i;
	}
}

static struct pg_cookie_subject subject_of(const struct datagram *d, uint16_t client_id)
{
	struct pg_cookie_subject subject = {
		.source_port_be = htons(d->source_port),
		.target_port_be = htons(d->target_port),
		.client_id_be = htons(client_id),
	};

	parse_address(d->family, d->source, (uint64_t *)subject.source);
	parse_address(d->family, d->target, (uint64_t *)subject.target);
	return subject;
}

static void write_cookie(const struct gate *gate, const struct pg_cookie_subject *subject,
			 uint8_t epoch, uint8_t ret_cookie[PG_COOKIE_BYTES])
{
	const __u64 *key = gate->shared->cookies.key[epoch % PG_COOKIE_EPOCHS];
	__u64 words[2] = { key[0], key[1] };

	pg_store_le64(ret_cookie, epoch);
	pg_store_le64(ret_cookie + 8, pg_cookie_tag(words, subject));
}

static void build_shakehand(const struct place *place, struct frame_bytes *ret_frame)
{
	struct frame_spec spec = { .opcode = PG_OP_SHAKEHAND, .payload = 256 };
	struct frame_ids ids = { place->ids.client, 0 };

	build_frame(&spec, ids, NULL, ret_frame);
	ret_frame->bytes[16] = PG_HANDSHAKE_VERSION;
	memset(ret_frame->bytes + 18, 0, PG_COOKIE_BYTES);
}

static void off(void **state)
{
	struct gate *gate = *state;
	struct frame_bytes frame;

	gate->shared->cookie_due = 1;
	EACH_PLACE(place)
	{
		build_shakehand(place, &frame);
		assert_int_equal(gate_judge_frame(gate, "off", &place->datagram, &frame,
						  DROPS(HANDSHAKE_OFF)),
				 0);
	}
}

/* Without a demand whatever the cookie is, until the source's bucket is empty. */
static void steered_within_the_rate(void **state)
{
	struct gate *gate = *state;
	struct frame_bytes frame;
	int steered = 0;

	set_handshake(gate, false);
	EACH_PLACE(place)
	{
		build_shakehand(place, &frame);
		assert_int_equal(gate_judge_frame(gate, "steered", &place->datagram, &frame,
						  counted(STEERS)),
				 0);
	}
	gate_clear_map(gate->skeleton->maps.pg_sources);
	gate->shared->unmatched_rate = 2;
	build_shakehand(&places[0], &frame);
	for (int i = 0; i < 50; i++) {
		struct link_frame link;

		build_datagram(&places[0].datagram, frame.bytes, frame.n, &link);
		steered += gate_run_on(gate, &link, NULL) == XDP_REDIRECT;
	}
	assert_in_range(steered, 2, 4);
}

static void check_cookie(struct gate *gate, const struct place *place, int tags)
{
	uint32_t at = ETHER_BYTES + tags * VLAN_BYTES + (place->datagram.family == 4 ? 20 : 40) + 8;
	const uint8_t *frame = gate->out.bytes + at;
	uint8_t cookie[PG_COOKIE_BYTES];
	struct pg_cookie_subject subject = subject_of(&place->datagram, place->ids.client);
	struct pg_frame parsed;

	assert_int_equal(gate->out.n, at + PG_HANDSHAKE_COOKIE_BYTES);
	assert_int_equal(pg_frame_check(frame, frame + PG_HANDSHAKE_COOKIE_BYTES,
					PG_HANDSHAKE_COOKIE_BYTES, PG_S2C, true, &parsed),
			 PG_DROP_NONE);
	assert_int_equal(parsed.opcode, PG_OP_HANDSHAKE);
	assert_int_equal(parsed.session, (uint32_t)place->ids.client << 16);
	assert_int_equal(frame[16], PG_HANDSHAKE_COOKIE);
	write_cookie(gate, &subject, EPOCH, cookie);
	assert_memory_equal(frame + 17, cookie, sizeof(cookie));
	assert_int_equal(pg_load_be16(gate->out.bytes + at - 8), place->datagram.target_port);
	assert_int_equal(pg_load_be16(gate->out.bytes + at - 6), place->datagram.source_port);
	assert_int_not_equal(pg_load_be16(gate->out.bytes + at - 2), 0);
}

static void answered_with_a_cookie(void **state)
{
	struct gate *gate = *state;
	struct frame_bytes frame;
	struct link_frame link;

	set_handshake(gate, true);
	gate->shared->unmatched_rate = 1; /* what is answered takes nothing from the bucket */
	EACH_PLACE(place)
	{
		build_shakehand(place, &frame);
		for (int tags = 0; tags < PLAIN_TAGS; tags++) {
			struct datagram d = place->datagram;

			d.vlan_tags = tags;
			build_datagram(&d, frame.bytes, frame.n, &link);
			for (int i = 0; i < 3; i++) {
				assert_int_equal(
					gate_judge(gate, place->name, &link, counted(COOKIES)), 0);
				check_cookie(gate, place, tags);
			}
		}
	}
}

/* Every bit of a cookie, every epoch, and whom it is for. */
static void only_a_valid_cookie(void **state)
{
	struct gate *gate = *state;
	struct frame_bytes frame;

	set_handshake(gate, true);
	EACH_PLACE(place)
	{
		struct pg_cookie_subject subject = subject_of(&place->datagram, place->ids.client);
		struct datagram other = place->datagram;
		uint8_t *cookie = frame.bytes + 18;

		build_shakehand(place, &frame);
		for (int epoch = 0; epoch < 256; epoch++) {
			bool valid = epoch == EPOCH || epoch == EPOCH - 1;

			write_cookie(gate, &subject, epoch, cookie);
			assert_int_equal(
				gate_judge_frame(gate, "epoch", &place->datagram, &frame,
						 valid ? counted(STEERS) : counted(COOKIES)),
				0);
		}
		write_cookie(gate, &subject, EPOCH, cookie);
		for (int bit = 0; bit < 8 * PG_COOKIE_BYTES; bit++) {
			cookie[bit / 8] ^= 1 << bit % 8;
			assert_int_equal(gate_judge_frame(gate, "bit", &place->datagram, &frame,
							  counted(COOKIES)),
					 0);
			cookie[bit / 8] ^= 1 << bit % 8;
		}
		other.source_port ^= 1;
		assert_int_equal(
			gate_judge_frame(gate, "other port", &other, &frame, counted(COOKIES)), 0);
		frame.bytes[1] ^= 1;
		assert_int_equal(gate_judge_frame(gate, "other client id", &place->datagram, &frame,
						  counted(COOKIES)),
				 0);
	}
}

/* Options and extension headers are not answered; with a cookie they are steered. */
static void only_plain_headers(void **state)
{
	struct gate *gate = *state;
	struct frame_bytes frame;

	set_handshake(gate, true);
	EACH_PLACE(place)
	{
		struct pg_cookie_subject subject = subject_of(&place->datagram, place->ids.client);
		struct datagram d = place->datagram;

		if (d.family == 4)
			d.option_bytes = 4;
		else
			d.extensions[0] = (struct extension){ .type = 0, .bytes = 8 };
		build_shakehand(place, &frame);
		assert_int_equal(gate_judge_frame(gate, "rare headers", &d, &frame,
						  counted(DROPS(COOKIE_UNANSWERED))),
				 0);
		write_cookie(gate, &subject, EPOCH, frame.bytes + 18);
		assert_int_equal(
			gate_judge_frame(gate, "rare headers, cookie", &d, &frame, counted(STEERS)),
			0);
	}
}

/* What is no valid frame is refused before anything is counted as a shakehand. */
static void malformed(void **state)
{
	struct gate *gate = *state;
	struct frame_bytes frame;

	set_handshake(gate, true);
	build_shakehand(&places[0], &frame);
	pg_store_be16(frame.bytes + 14, 255);
	frame.n--;
	assert_int_equal(gate_judge_frame(gate, "255 bytes", &places[0].datagram, &frame,
					  DROPS(PAYLOAD_SIZE)),
			 0);
	build_shakehand(&places[0], &frame);
	frame.bytes[3] = 1;
	assert_int_equal(
		gate_judge_frame(gate, "server id", &places[0].datagram, &frame, DROPS(ID_ZERO)),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gate_test(off),
		gate_test(steered_within_the_rate),
		gate_test(answered_with_a_cookie),
		gate_test(only_a_valid_cookie),
		gate_test(only_plain_headers),
		gate_test(malformed),
	};

	return cmocka_run_group_tests(tests, gate_group_setup, gate_group_teardown);
}
