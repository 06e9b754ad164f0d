// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "diag.h"
#include "netstat.h"
#include "packgate/tcpq.h"

#define TRIES	    5
#define DUMP_BYTES  32768
#define STATE(name) (1U << (name))

struct requests {
	struct request {
		struct pg_address address;
		uint16_t port;
		bool young;
	} * at;
	size_t n, room;
};

struct reading {
	struct pg_tcpq_listener *rows;
	size_t n, room;
	struct requests requests;
	struct pg_diag_cut cut;
	size_t most; /* rows, and requests */
	uint64_t netns;
	int err;
};

static void forget(struct reading *reading)
{
	free(reading->rows);
	free(reading->requests.at);
}

/* Makes room for one more element, of `most`. Returns 1; 0 at the bound, counted; -ENOMEM. */
static int make_room(void *array, size_t bytes, size_t n, size_t *room, size_t most, uint64_t *cut)
{
	void **at = array, *larger;

	if (n == most) {
		(*cut)++;
		return 0;
	}
	if (n < *room)
		return 1;
	larger = realloc(*at, (*room ? 2 * *room : 64) * bytes);
	if (!larger)
		return -ENOMEM;
	*at = larger;
	*room = *room ? 2 * *room : 64;
	return 1;
}

static void read_address(const struct inet_diag_msg *message, struct pg_address *ret_address)
{
	memset(ret_address, 0, sizeof(*ret_address));
	if (message->idiag_family == AF_INET) {
		ret_address->bytes[10] = ret_address->bytes[11] = 0xff;
		memcpy(&ret_address->bytes[12], message->id.idiag_src, 4);
	} else {
		memcpy(ret_address->bytes, message->id.idiag_src, sizeof(ret_address->bytes));
	}
}

static int read_attribute(const struct nlattr *attribute, void *context)
{
	struct pg_tcpq_listener *row = context;
	const uint32_t *memory = mnl_attr_get_payload(attribute);

	switch (mnl_attr_get_type(attribute)) {
	case INET_DIAG_SKV6ONLY:
		row->v6only = mnl_attr_get_u8(attribute);
		break;
	case INET_DIAG_SKMEMINFO:
		if (mnl_attr_get_payload_len(attribute) > SK_MEMINFO_DROPS * sizeof(*memory))
			row->drops = memory[SK_MEMINFO_DROPS];
		break;
	}
	return MNL_CB_OK;
}

static int take_listener(struct reading *reading, const struct nlmsghdr *header,
			 const struct inet_diag_msg *message)
{
	int room = make_room(&reading->rows, sizeof(*reading->rows), reading->n, &reading->room,
			     reading->most, &reading->cut.listeners);
	struct pg_tcpq_listener *row;

	if (room <= 0)
		return room;
	row = &reading->rows[reading->n++];
	*row = (struct pg_tcpq_listener){
		.netns = reading->netns,
		.port = ntohs(message->id.idiag_sport),
		.ipv6 = message->idiag_family == AF_INET6,
		.bound_interface = message->id.idiag_if,
		.cookie = (uint64_t)message->id.idiag_cookie[1] << 32 | message->id.idiag_cookie[0],
		.inode = message->idiag_inode,
		.uid = message->idiag_uid,
		.accept_length = message->idiag_rqueue,
		.accept_limit = message->idiag_wqueue,
		.accept_high = message->idiag_rqueue,
		.accept_full = message->idiag_rqueue > message->idiag_wqueue,
	};
	read_address(message, &row->address);
	mnl_attr_parse(header, sizeof(*message), read_attribute, row);
	return 0;
}

static int take_request(struct reading *reading, const struct inet_diag_msg *message)
{
	struct requests *requests = &reading->requests;
	int room = make_room(&requests->at, sizeof(*requests->at), requests->n, &requests->room,
			     reading->most, &reading->cut.requests);
	struct request *request;

	if (room <= 0)
		return room;
	request = &requests->at[requests->n++];
	read_address(message, &request->address);
	request->port = ntohs(message->id.idiag_sport);
	request->young = !message->idiag_retrans;
	return 0;
}

static int take_message(const struct nlmsghdr *header, void *context)
{
	const struct inet_diag_msg *message = mnl_nlmsg_get_payload(header);
	struct reading *reading = context;

	if (mnl_nlmsg_get_payload_len(header) < sizeof(*message))
		reading->err = -EBADMSG;
	else if (message->idiag_state == TCP_LISTEN)
		reading->err = take_listener(reading, header, message);
	else
		reading->err = take_request(reading, message);
	return reading->err ? MNL_CB_ERROR : MNL_CB_OK;
}

static int ask(struct mnl_socket *socket, uint8_t family)
{
	char buffer[256];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(header, sizeof(*request));

	header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	request->sdiag_family = family;
	request->sdiag_protocol = IPPROTO_TCP;
	request->idiag_states = STATE(TCP_LISTEN) | STATE(TCP_SYN_RECV);
	request->idiag_ext = 1 << (INET_DIAG_SKMEMINFO - 1);
	return mnl_socket_sendto(socket, header, header->nlmsg_len) < 0 ? -errno : 0;
}

static int dump(struct mnl_socket *socket, uint8_t family, struct reading *reading)
{
	PG_FREE char *buffer = malloc(DUMP_BYTES);
	ssize_t bytes;
	int rc = MNL_CB_OK, err;

	if (!buffer)
		return -ENOMEM;
	err = ask(socket, family);
	while (!err && rc > MNL_CB_STOP) {
		bytes = mnl_socket_recvfrom(socket, buffer, DUMP_BYTES);
		rc = bytes < 0 ? -1
			       : mnl_cb_run(buffer, bytes, 1, mnl_socket_get_portid(socket),
					    take_message, reading);
		if (rc < 0)
			err = reading->err ? reading->err : -errno;
	}
	return err;
}

static int dump_both(struct reading *reading)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	int err = 0;

	if (!socket)
		return -errno;
	reading->n = reading->requests.n = 0;
	reading->cut = (struct pg_diag_cut){ 0 };
	reading->err = 0;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID))
		err = -errno;
	if (!err)
		err = dump(socket, AF_INET, reading);
	if (!err)
		err = dump(socket, AF_INET6, reading);
	mnl_socket_close(socket);
	return err;
}

static int compare_rows(const void *left, const void *right)
{
	const struct pg_tcpq_listener *a = left, *b = right;
	int order = memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));

	if (order)
		return order;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

/* The first row at or behind this address and port. */
static size_t lower_bound(const struct pg_tcpq_listener *rows, size_t n,
			  const struct pg_tcpq_listener *key)
{
	size_t low = 0, high = n, middle;

	while (low < high) {
		middle = (low + high) / 2;
		if (compare_rows(&rows[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct pg_tcpq_listener *find(struct pg_tcpq_listener *rows, size_t n,
				     const struct pg_address *address, uint16_t port)
{
	struct pg_tcpq_listener key = { .address = *address, .port = port };
	size_t at = lower_bound(rows, n, &key);

	if (at == n || rows[at].port != port || !pg_address_equal(&rows[at].address, address))
		return NULL;
	return &rows[at];
}

struct pg_tcpq_listener *pg_diag_listener(struct pg_tcpq_listener *rows, size_t n,
					  const struct pg_address *address, uint16_t port)
{
	static const struct pg_address any_v4 = { .bytes = { [10] = 0xff, [11] = 0xff } };
	static const struct pg_address any_v6;
	bool ipv4 = pg_address_is_ipv4(address);
	struct pg_tcpq_listener *row = find(rows, n, address, port);

	if (!row && ipv4)
		row = find(rows, n, &any_v4, port);
	if (row)
		return row;
	row = find(rows, n, &any_v6, port);
	for (; row && row < rows + n && row->port == port && pg_address_is_any(&row->address);
	     row++)
		if (!ipv4 || !row->v6only)
			return row;
	return NULL;
}

static void count_requests(struct reading *reading)
{
	struct pg_tcpq_listener *row;
	size_t i;

	for (i = 0; i < reading->requests.n; i++) {
		const struct request *request = &reading->requests.at[i];

		row = pg_diag_listener(reading->rows, reading->n, &request->address, request->port);
		/* its listener is closed */
		if (!row)
			continue;
		row->syn_length++;
		row->syn_young += request->young;
	}
}

static uint32_t bounded(int64_t value)
{
	return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static int judge(struct reading *reading, struct pg_error *error)
{
	struct pg_netstat_sysctls sysctls;
	int err = pg_netstat_sysctls(&sysctls, error);
	size_t i;

	if (err)
		return err;
	for (i = 0; i < reading->n; i++) {
		struct pg_tcpq_listener *row = &reading->rows[i];

		row->somaxconn = bounded(sysctls.somaxconn);
		row->max_syn_backlog = (int32_t)sysctls.tcp_max_syn_backlog;
		row->syncookies = (uint8_t)bounded(sysctls.tcp_syncookies);
		row->abort_on_overflow = sysctls.tcp_abort_on_overflow > 0;
		row->synack_retries = (uint8_t)bounded(sysctls.tcp_synack_retries);
		row->capped = row->accept_limit >= row->somaxconn;
		row->syn_limit =
			pg_tcpq_syn_limit(row->accept_limit, row->syncookies, row->max_syn_backlog);
		row->syn_full = row->syn_length >= row->syn_limit;
		row->syn_high = row->syn_length;
	}
	return 0;
}

int pg_diag_read(uint64_t netns, size_t most, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		 struct pg_diag_cut *ret_cut, struct pg_error *error)
{
	PG_CLEANUP(forget) struct reading reading = { .netns = netns, .most = most };
	int err, tries = 0;

	do {
		err = dump_both(&reading);
	} while (err == -EINTR && ++tries < TRIES);
	if (err == -EINTR)
		err = -EAGAIN;
	if (err)
		return pg_error_set(error, err, "reading the TCP listeners through inet_diag: %s",
				    strerror(-err));
	if (reading.n)
		qsort(reading.rows, reading.n, sizeof(*reading.rows), compare_rows);
	count_requests(&reading);
	err = judge(&reading, error);
	if (err)
		return err;
	*ret_n = reading.n;
	*ret_cut = reading.cut;
	*ret_rows = reading.n ? TAKE_PTR(reading.rows) : NULL;
	return 0;
}
