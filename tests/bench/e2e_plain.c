// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What packgate is compared with: a server over a UDP socket that does the same work, as well as
 * one can be written: one thread, 64 datagrams a recvmmsg, a large receive buffer, sessions found
 * by slot, the same validation, guard, replay window, AEAD back-end and key cache, opening and
 * sealing in batches, 64 datagrams a sendmmsg.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "aead.h"
#include "e2e.h"
#include "frame.h"
#include "key_cache.h"
#include "packgate/replay_commit.h"

#define BATCH	      64
#define SLOTS	      65536
#define RECEIVE_BYTES (64 << 20)

/* Shared with the parent. */
struct counters {
	uint64_t opened, rejected;
	uint32_t ready;
};

struct session {
	uint32_t id, highest, next_send;
	uint8_t policy;
	uint32_t peer_be;
	uint16_t port_be;
	uint64_t guard_c2s[2], guard_s2c[2];
	uint64_t bits[PG_WINDOW_WORDS];
	struct pg_keys keys;
};

struct message {
	uint8_t bytes[PG_FRAME_MAX];
	struct pg_frame frame;
	struct session *session;
};

struct plain {
	int fd;
	bool echo;
	struct counters *counters;
	struct session *sessions[SLOTS];
	struct pg_aead *aead;
	struct pg_key_cache *keys;
	uint64_t now_ms;
	struct message messages[BATCH];
	struct sockaddr_in from[BATCH];
	struct iovec vectors[BATCH];
	struct mmsghdr headers[BATCH];
	struct message *pending[BATCH];
	struct pg_aead_job jobs[BATCH];
	uint32_t pending_count;
	struct message out[BATCH];
	struct iovec out_vectors[BATCH];
	struct mmsghdr out_headers[BATCH];
	uint32_t out_count;
};

static struct counters *counters;

/* --- receiving ---------------------------------------------------------------------------------
 */

static enum pg_drop classify(struct plain *plain, struct message *message, uint32_t bytes,
			     const struct sockaddr_in *from, struct pg_aead_job *job)
{
	struct pg_frame *frame = &message->frame;
	struct session *session;
	enum pg_drop drop;

	drop = pg_frame_check(message->bytes, message->bytes + bytes, bytes, PG_C2S, true, frame);
	if (drop)
		return drop;
	session = plain->sessions[PG_SESSION_SLOT(frame->session, SLOTS - 1)];
	if (!session || session->id != frame->session)
		return PG_DROP_NO_SESSION;
	if (from->sin_addr.s_addr != session->peer_be || from->sin_port != session->port_be)
		return PG_DROP_PEER_MISMATCH;
	if (!pg_guard_check((const __u64 *)session->guard_c2s, message->bytes, frame))
		return PG_DROP_GUARD;
	if (frame->opcode != PG_OP_DATA)
		return PG_DROP_UNEXPECTED;
	drop = pg_replay_check(session->highest, (const __u64 *)session->bits, frame->pack,
			       session->policy);
	if (drop)
		return drop;
	message->session = session;
	job->key = pg_key_cache_get(plain->keys, session->id, &session->keys, PG_AEAD_AES_256_GCM,
				    PG_C2S, frame->stream, frame->pack);
	pg_frame_nonce(session->keys.direction[PG_C2S].iv, frame, job->nonce);
	job->aad = message->bytes;
	job->aad_bytes = frame->header_bytes;
	job->text = message->bytes + frame->header_bytes;
	job->text_bytes = frame->payload_bytes - PG_TAG_BYTES - PG_GUARD_BYTES;
	job->tag = job->text + job->text_bytes;
	return job->key ? PG_DROP_NONE : PG_DROP_BUFFER_FULL;
}

/* --- echoing -----------------------------------------------------------------------------------
 */

/* Writes the answer but for its sealing. */
static void prepare_echo(struct plain *plain, const struct message *in, struct pg_aead_job *job)
{
	uint32_t bytes = in->frame.payload_bytes - PG_TAG_BYTES - PG_GUARD_BYTES;
	struct message *out = &plain->out[plain->out_count];
	struct session *session = in->session;

	out->session = session;
	out->frame = (struct pg_frame){
		.session = session->id,
		.pack = session->next_send++,
		.opcode = PG_OP_DATA,
		.flags = PG_FLAG_PACK,
		.payload_bytes = in->frame.payload_bytes,
	};
	pg_frame_write_header(out->bytes, &out->frame, plain->now_ms);
	memcpy(out->bytes + out->frame.header_bytes, in->bytes + in->frame.header_bytes, bytes);
	job->key = pg_key_cache_get(plain->keys, session->id, &session->keys, PG_AEAD_AES_256_GCM,
				    PG_S2C, 0, out->frame.pack);
	pg_frame_nonce(session->keys.direction[PG_S2C].iv, &out->frame, job->nonce);
	job->aad = out->bytes;
	job->aad_bytes = out->frame.header_bytes;
	job->text = out->bytes + out->frame.header_bytes;
	job->text_bytes = bytes;
	job->tag = job->text + bytes;
	plain->out_vectors[plain->out_count].iov_len = out->frame.bytes;
	plain->out_headers[plain->out_count].msg_hdr.msg_name = &plain->from[in - plain->messages];
	if (job->key)
		plain->out_count++;
}

static void send_echoes(struct plain *plain)
{
	uint32_t sent = 0;

	pg_aead_seal(plain->aead, plain->jobs, plain->out_count);
	for (uint32_t i = 0; i < plain->out_count; i++)
		pg_frame_write_guard(plain->out[i].bytes, &plain->out[i].frame,
				     plain->out[i].session->guard_s2c);
	while (sent < plain->out_count) {
		int n = sendmmsg(plain->fd, plain->out_headers + sent, plain->out_count - sent, 0);

		if (n <= 0)
			break;
		sent += n;
	}
	plain->out_count = 0;
}

/* --- the batch ---------------------------------------------------------------------------------
 */

static void apply(struct plain *plain, struct message *message, int result)
{
	struct session *session = message->session;
	uint32_t pack = message->frame.pack;

	if (result || pg_replay_check(session->highest, (const __u64 *)session->bits, pack,
				      session->policy)) {
		plain->counters->rejected++;
		message->session = NULL;
		return;
	}
	if (session->policy == PG_POLICY_NEWEST)
		session->highest = pack;
	else
		pg_replay_commit(&session->highest, (__u64 *)session->bits, pack);
	plain->counters->opened++;
}

static void take(struct plain *plain, int count)
{
	pg_key_cache_begin(plain->keys);
	plain->pending_count = 0;
	for (int i = 0; i < count; i++) {
		struct message *message = &plain->messages[i];

		if (classify(plain, message, plain->headers[i].msg_len, &plain->from[i],
			     &plain->jobs[plain->pending_count]))
			plain->counters->rejected++;
		else
			plain->pending[plain->pending_count++] = message;
	}
	pg_aead_open(plain->aead, plain->jobs, plain->pending_count);
	for (uint32_t i = 0; i < plain->pending_count; i++)
		apply(plain, plain->pending[i], plain->jobs[i].result);
	if (!plain->echo)
		return;
	pg_key_cache_begin(plain->keys);
	for (uint32_t i = 0; i < plain->pending_count; i++)
		if (plain->pending[i]->session)
			prepare_echo(plain, plain->pending[i], &plain->jobs[plain->out_count]);
	send_echoes(plain);
}

static void serve(struct plain *plain)
{
	struct timespec now;

	for (;;) {
		int count;

		for (int i = 0; i < BATCH; i++)
			plain->headers[i].msg_hdr.msg_namelen = sizeof(plain->from[i]);
		count = recvmmsg(plain->fd, plain->headers, BATCH, MSG_WAITFORONE, NULL);
		if (count <= 0)
			continue;
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
		plain->now_ms = now.tv_sec * 1000ull + now.tv_nsec / 1000000;
		take(plain, count);
	}
}

/* --- set-up ------------------------------------------------------------------------------------
 */

static void open_socket(struct plain *plain)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(SERVER_PORT) };
	int bytes = RECEIVE_BYTES;

	plain->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (plain->fd < 0 || bind(plain->fd, (struct sockaddr *)&at, sizeof(at)) ||
	    setsockopt(plain->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) ||
	    setsockopt(plain->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
		bench_die("opening the plain server's socket: %s", strerror(errno));
	for (int i = 0; i < BATCH; i++) {
		plain->vectors[i] = (struct iovec){ plain->messages[i].bytes, PG_FRAME_MAX };
		plain->headers[i].msg_hdr = (struct msghdr){ .msg_name = &plain->from[i],
							     .msg_iov = &plain->vectors[i],
							     .msg_iovlen = 1 };
		plain->out_vectors[i].iov_base = plain->out[i].bytes;
		plain->out_headers[i].msg_hdr =
			(struct msghdr){ .msg_namelen = sizeof(struct sockaddr_in),
					 .msg_iov = &plain->out_vectors[i],
					 .msg_iovlen = 1 };
	}
}

static void add_sessions(struct plain *plain)
{
	for (int i = 0; i < SESSIONS; i++) {
		const struct bench_session *from = &bench_sessions[i];
		struct session *session = aligned_alloc(64, (sizeof(*session) + 63) & ~63ul);

		if (!session)
			bench_die("out of memory");
		*session = (struct session){
			.id = from->id,
			.next_send = 1,
			.policy = PG_POLICY_NEWEST,
			.peer_be = inet_addr(CLIENT_IP),
			.port_be = htons(from->port),
			.keys = from->keys,
		};
		pg_keys_guard_words(&from->keys, PG_C2S, session->guard_c2s);
		pg_keys_guard_words(&from->keys, PG_S2C, session->guard_s2c);
		plain->sessions[PG_SESSION_SLOT(from->id, SLOTS - 1)] = session;
	}
}

static void run_server(const struct bench_net *net, enum bench_deliver deliver)
{
	struct plain *plain = calloc(1, sizeof(*plain));

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!plain || pg_aead_new(NULL, &plain->aead, NULL) ||
	    pg_key_cache_new(plain->aead, 4096, &plain->keys))
		bench_die("setting up the plain server");
	plain->echo = deliver == BENCH_ECHO;
	plain->counters = counters;
	bench_net_enter(net->server);
	bench_stand_alone();
	open_socket(plain);
	add_sessions(plain);
	__atomic_store_n(&counters->ready, 1, __ATOMIC_RELEASE);
	serve(plain);
}

static void start(struct bench_server *server, const struct bench_net *net,
		  enum bench_deliver deliver)
{
	if (!counters) {
		counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (counters == MAP_FAILED)
			bench_die("sharing the plain server's counters: %s", strerror(errno));
	}
	memset(counters, 0, sizeof(*counters));
	server->pid = fork();
	if (!server->pid)
		run_server(net, deliver);
	if (server->pid < 0)
		bench_die("starting the plain server: %s", strerror(errno));
	for (int waited = 0; !__atomic_load_n(&counters->ready, __ATOMIC_ACQUIRE); waited++) {
		if (waited > 2000 || waitpid(server->pid, NULL, WNOHANG))
			bench_die("the plain server did not start");
		usleep(1000);
	}
}

static void stop(struct bench_server *server)
{
	if (server->pid <= 0)
		return;
	kill(server->pid, SIGKILL);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

static uint64_t opened(struct bench_server *server)
{
	return __atomic_load_n(&counters->opened, __ATOMIC_RELAXED);
}

struct bench_server bench_plain = {
	.name = "plain recvmmsg server",
	.start = start,
	.stop = stop,
	.opened = opened,
};
