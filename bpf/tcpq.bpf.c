// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Reads the queues of TCP listeners. pg_tcpq walks the listeners of one network namespace, the
 * reader's, and marks each as it goes by; pg_tcpq_state marks those that begin to listen later, in
 * any namespace. pg_tcpq_all then reads all that are marked, whatever namespace they are in,
 * without walking the hash tables that all namespaces share; pg_tcpq_high does so to keep the
 * high-water marks.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "packgate/tcpq.h"

#define AF_INET	    2
#define IPPROTO_TCP 6
#define TCP_LISTEN  10

/* Two that stand for others: a request in a SYN queue, and what is left of a closed connection. */
#define TCP_NEW_SYN_RECV 12
#define TCP_SYN_RECV	 3
#define TCP_TIME_WAIT	 6

/* Stubs of kernel types with the fields read here; loading finds where they really are. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct netns_core {
	int sysctl_somaxconn;
};

struct netns_ipv4 {
	__u8 sysctl_tcp_syncookies;
	__u8 sysctl_tcp_abort_on_overflow;
	__u8 sysctl_tcp_synack_retries;
	int sysctl_max_syn_backlog;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
	struct netns_core core;
	struct netns_ipv4 ipv4;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__be32 skc_rcv_saddr;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_reuseport : 1;
	unsigned char skc_ipv6only : 1;
	int skc_bound_dev_if;
	possible_net_t skc_net;
	struct in6_addr skc_v6_rcv_saddr;
};

struct inode {
	unsigned long i_ino;
};

struct socket {
	struct sock *sk;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct sock_reuseport {
	__u16 num_socks;
};

typedef struct {
	__u32 val;
} kuid_t;

struct sock {
	struct sock_common __sk_common;
	atomic_t sk_drops;
	__u16 sk_protocol;
	kuid_t sk_uid;
	struct socket *sk_socket;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
	struct sock_reuseport *sk_reuseport_cb;
};

struct fastopen_queue {
	int qlen;
	int max_qlen;
};

struct request_sock_queue {
	__u8 rskq_defer_accept;
	atomic_t qlen;
	atomic_t young;
	struct fastopen_queue fastopenq;
};

struct inet_sock {
	struct sock sk;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	struct request_sock_queue icsk_accept_queue;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
};

enum tcp_seq_states {
	TCP_SEQ_STATE_LISTENING,
};

struct tcp_iter_state {
	enum tcp_seq_states state;
};

struct bpf_tcp_iter_state {
	struct tcp_iter_state state;
};

struct seq_file {
	void *private;
};

struct bpf_iter_meta {
	__bpf_md_ptr(struct seq_file *, seq);
};

struct bpf_iter__tcp {
	__bpf_md_ptr(struct bpf_iter_meta *, meta);
	__bpf_md_ptr(struct sock_common *, sk_common);
};

struct bpf_iter__bpf_sk_storage_map {
	__bpf_md_ptr(struct bpf_iter_meta *, meta);
	__bpf_md_ptr(struct sock *, sk);
	__bpf_md_ptr(void *, value);
};

struct inet_timewait_sock {
	struct sock_common __tw_common;
	volatile unsigned char tw_substate;
};

struct request_sock;

#pragma clang attribute pop

/* What is kept with a listener; gone with it. */
struct mark {
	__u32 accept_high;
	__u32 syn_high;
	__u32 synack_retransmits;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mark);
} pg_listeners SEC(".maps");

/* Whether the next walk of pg_tcpq marks what it sees. */
bool pg_marking;
/* Whether walks of pg_tcpq_high let the marks begin anew. */
bool pg_reset;
/* Rises whenever a socket begins or ceases to listen. */
__u64 pg_changes;
/* What pg_tcp_states has counted, by state. */
__u64 pg_states[PG_TCP_STATE_SLOTS];
/* Listeners that found no memory for their mark. */
__u64 pg_unmarked;

static __always_inline int is_past_listeners(struct seq_file *seq)
{
	struct bpf_tcp_iter_state *iterator = seq->private;

	return BPF_CORE_READ(iterator, state.state) != TCP_SEQ_STATE_LISTENING;
}

static __always_inline void read_identity(struct sock_common *common, struct pg_tcpq_record *record)
{
	record->family = common->skc_family;
	record->port = common->skc_num;
	record->bound_interface = common->skc_bound_dev_if;
	record->v6only = BPF_CORE_READ_BITFIELD_PROBED(common, skc_ipv6only);
	record->reuseport = BPF_CORE_READ_BITFIELD_PROBED(common, skc_reuseport);
	if (record->family == AF_INET) {
		__be32 address = common->skc_rcv_saddr;

		record->address[10] = record->address[11] = 0xff;
		__builtin_memcpy(&record->address[12], &address, sizeof(address));
	} else {
		bpf_core_read(record->address, sizeof(record->address), &common->skc_v6_rcv_saddr);
	}
}

static __always_inline void read_owner(struct sock *sk, struct pg_tcpq_record *record)
{
	struct socket *socket = sk->sk_socket;
	struct socket_alloc *holder;

	if (!socket)
		return;
	holder = (void *)socket - bpf_core_field_offset(struct socket_alloc, socket);
	record->inode = BPF_CORE_READ(holder, vfs_inode.i_ino);
}

static __always_inline void read_sysctls(struct net *net, struct pg_tcpq_record *record)
{
	record->netns = net->ns.inum;
	record->somaxconn = net->core.sysctl_somaxconn;
	record->max_syn_backlog = net->ipv4.sysctl_max_syn_backlog;
	record->syncookies = net->ipv4.sysctl_tcp_syncookies;
	record->abort_on_overflow = net->ipv4.sysctl_tcp_abort_on_overflow;
	record->synack_retries = net->ipv4.sysctl_tcp_synack_retries;
}

static __always_inline void read_queues(struct tcp_sock *tcp, struct pg_tcpq_record *record)
{
	struct inet_connection_sock *connection = &tcp->inet_conn;
	struct sock *sk = &connection->icsk_inet.sk;
	struct request_sock_queue *requests = &connection->icsk_accept_queue;

	record->accept_length = sk->sk_ack_backlog;
	record->accept_limit = sk->sk_max_ack_backlog;
	record->syn_length = requests->qlen.counter;
	record->syn_young = requests->young.counter;
	record->defer_accept = requests->rskq_defer_accept;
	record->fastopen_length = requests->fastopenq.qlen;
	record->fastopen_limit = requests->fastopenq.max_qlen;
	record->drops = sk->sk_drops.counter;
	record->uid = sk->sk_uid.val;
	record->reuseport_sockets = BPF_CORE_READ(sk, sk_reuseport_cb, num_socks);
	read_sysctls(sk->__sk_common.skc_net.net, record);
	record->syn_limit = pg_tcpq_syn_limit(record->accept_limit, record->syncookies,
					      record->max_syn_backlog);
	read_owner(sk, record);
}

static __always_inline void raise(struct mark *mark, __u32 accept_length, __u32 syn_length)
{
	if (mark->accept_high < accept_length)
		mark->accept_high = accept_length;
	if (mark->syn_high < syn_length)
		mark->syn_high = syn_length;
}

/* mark may be NULL: then the marks are what the queues hold now. */
static __always_inline void write_record(struct seq_file *seq, struct tcp_sock *tcp,
					 struct mark *mark)
{
	struct pg_tcpq_record record = {};

	record.cookie = bpf_get_socket_cookie(tcp);
	read_identity(&tcp->inet_conn.icsk_inet.sk.__sk_common, &record);
	read_queues(tcp, &record);
	record.accept_high = record.accept_length;
	record.syn_high = record.syn_length;
	if (mark) {
		raise(mark, record.accept_length, record.syn_length);
		record.accept_high = mark->accept_high;
		record.syn_high = mark->syn_high;
		record.synack_retransmits = mark->synack_retransmits;
		record.marked = 1;
	}
	bpf_seq_write(seq, &record, sizeof(record));
}

SEC("iter/tcp")
int pg_tcpq(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct seq_file *seq = ctx->meta->seq;
	struct mark *mark = NULL;
	struct tcp_sock *tcp;

	if (!common)
		return 0;
	/* the kernel hands out what is written so far, then fails the next read with EAGAIN */
	if (is_past_listeners(seq))
		return 1;
	tcp = bpf_skc_to_tcp_sock(common);
	if (!tcp || common->skc_state != TCP_LISTEN)
		return 0;
	if (pg_marking) {
		mark = bpf_sk_storage_get(&pg_listeners, tcp, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (!mark)
			__sync_fetch_and_add(&pg_unmarked, 1);
	}
	write_record(seq, tcp, mark);
	return 0;
}

SEC("iter/tcp")
int pg_tcp_states(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	unsigned int state;

	if (!common)
		return 0;
	state = common->skc_state;
	if (state == TCP_TIME_WAIT)
		state = BPF_CORE_READ((struct inet_timewait_sock *)common, tw_substate);
	else if (state == TCP_NEW_SYN_RECV)
		state = TCP_SYN_RECV;
	if (state < PG_TCP_STATE_SLOTS)
		pg_states[state]++;
	return 0;
}

/* The listener behind an element of the map; NULL for the end and for what listens no more. */
static __always_inline struct tcp_sock *listener_of(struct sock *sk)
{
	if (!sk || sk->__sk_common.skc_state != TCP_LISTEN)
		return NULL;
	return bpf_skc_to_tcp_sock(sk);
}

SEC("iter/bpf_sk_storage_map")
int pg_tcpq_all(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct mark *mark = ctx->value;
	struct tcp_sock *tcp = listener_of(ctx->sk);

	if (tcp && mark)
		write_record(ctx->meta->seq, tcp, mark);
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int pg_tcpq_high(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct mark *mark = ctx->value;
	struct tcp_sock *tcp = listener_of(ctx->sk);

	if (!tcp || !mark)
		return 0;
	if (pg_reset)
		mark->accept_high = mark->syn_high = 0;
	raise(mark, tcp->inet_conn.icsk_inet.sk.sk_ack_backlog,
	      tcp->inet_conn.icsk_accept_queue.qlen.counter);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(pg_tcpq_state, struct sock *sk, int old_state, int new_state)
{
	/* a connection's socket is made as a copy of its listener: only the listener has a mark */
	if (new_state != TCP_LISTEN && old_state != TCP_LISTEN)
		return 0;
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (new_state != TCP_LISTEN) {
		if (!bpf_sk_storage_delete(&pg_listeners, sk))
			__sync_fetch_and_add(&pg_changes, 1);
		return 0;
	}
	__sync_fetch_and_add(&pg_changes, 1);
	if (!bpf_sk_storage_get(&pg_listeners, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE))
		__sync_fetch_and_add(&pg_unmarked, 1);
	return 0;
}

/* A SYN-ACK is repeated: slow enough an event to be counted with its listener. */
SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(pg_tcpq_synack, struct sock *sk, struct request_sock *request)
{
	struct mark *mark = bpf_sk_storage_get(&pg_listeners, sk, NULL, 0);

	if (mark)
		__sync_fetch_and_add(&mark->synack_retransmits, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
