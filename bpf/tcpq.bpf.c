// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Reads the queues of every TCP listener of a network namespace. The iterator walks the listening
 * hash first and everything else after it; the program ends the walk there.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "packgate/tcpq.h"

#define AF_INET	   2
#define TCP_LISTEN 10

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

struct netns_ipv4 {
	__u8 sysctl_tcp_syncookies;
	int sysctl_max_syn_backlog;
};

struct net {
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

struct sock {
	struct sock_common __sk_common;
	atomic_t sk_drops;
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
	unsigned int uid;
};

#pragma clang attribute pop

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

static __always_inline void read_queues(struct tcp_sock *tcp, struct pg_tcpq_record *record)
{
	struct inet_connection_sock *connection = &tcp->inet_conn;
	struct sock *sk = &connection->icsk_inet.sk;
	struct request_sock_queue *requests = &connection->icsk_accept_queue;
	struct net *net = sk->__sk_common.skc_net.net;

	record->accept_length = sk->sk_ack_backlog;
	record->accept_limit = sk->sk_max_ack_backlog;
	record->syn_length = requests->qlen.counter;
	record->syn_young = requests->young.counter;
	record->fastopen_length = requests->fastopenq.qlen;
	record->fastopen_limit = requests->fastopenq.max_qlen;
	record->drops = sk->sk_drops.counter;
	record->reuseport_sockets = BPF_CORE_READ(sk, sk_reuseport_cb, num_socks);
	record->syncookies = net->ipv4.sysctl_tcp_syncookies;
	record->syn_limit = pg_tcpq_syn_limit(record->accept_limit, record->syncookies,
					      net->ipv4.sysctl_max_syn_backlog);
	read_owner(sk, record);
}

SEC("iter/tcp")
int pg_tcpq(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct seq_file *seq = ctx->meta->seq;
	struct pg_tcpq_record record = {};
	struct tcp_sock *tcp;

	if (!common)
		return 0;
	/* the kernel hands out what is written so far, then fails the next read with EAGAIN */
	if (is_past_listeners(seq))
		return 1;
	tcp = bpf_skc_to_tcp_sock(common);
	if (!tcp || common->skc_state != TCP_LISTEN)
		return 0;
	record.uid = ctx->uid;
	record.cookie = bpf_get_socket_cookie(tcp);
	read_identity(common, &record);
	read_queues(tcp, &record);
	bpf_seq_write(seq, &record, sizeof(record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
