// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cleanup.h"
#include "locals.h"
#include "packgate/abi.h"

#define NOTICE_BYTES 16384

struct pg_locals {
	struct mnl_socket *notices;
	int map;
	size_t count;
	struct pg_local *seen; /* of the reading at hand */
	int result;
};

static bool address_of(const struct nlmsghdr *header, uint64_t ret_address[2])
{
	const struct ifaddrmsg *message = mnl_nlmsg_get_payload(header);
	const struct nlattr *attribute, *found = NULL;

	mnl_attr_for_each(attribute, header, sizeof(*message))
	{
		if (mnl_attr_get_type(attribute) == IFA_LOCAL)
			found = attribute;
		else if (mnl_attr_get_type(attribute) == IFA_ADDRESS && !found)
			found = attribute;
	}
	if (!found)
		return false;
	if (message->ifa_family == AF_INET && mnl_attr_get_payload_len(found) == 4) {
		ret_address[0] = 0;
		ret_address[1] = (uint64_t)mnl_attr_get_u32(found) << 32 | 0xffff0000;
		return true;
	}
	if (message->ifa_family == AF_INET6 && mnl_attr_get_payload_len(found) == 16) {
		memcpy(ret_address, mnl_attr_get_payload(found), 16);
		return true;
	}
	return false;
}

static int take_address(const struct nlmsghdr *header, void *context)
{
	struct pg_locals *locals = context;
	struct pg_local *larger;
	uint64_t address[2];

	if (header->nlmsg_type != RTM_NEWADDR || !address_of(header, address))
		return MNL_CB_OK;
	larger = realloc(locals->seen, (locals->count + 1) * sizeof(*larger));
	if (!larger) {
		locals->result = -ENOMEM;
		return MNL_CB_OK;
	}
	locals->seen = larger;
	locals->seen[locals->count++] = (struct pg_local){ { address[0], address[1] } };
	return MNL_CB_OK;
}

/* The table as it should be; -ENOSPC when an address finds no slot. */
static int place(const struct pg_locals *locals, struct pg_local *table)
{
	for (size_t i = 0; i < locals->count; i++) {
		const struct pg_local *local = &locals->seen[i];
		uint32_t slot = PG_LOCAL_HASH(local->address[0], local->address[1]);
		int probe;

		for (probe = 0; probe < PG_LOCALS_PROBES; probe++) {
			struct pg_local *at = &table[(slot + probe) % PG_LOCALS_SLOTS];

			if (!memcmp(at, local, sizeof(*at)))
				break;
			if (at->address[0] | at->address[1])
				continue;
			*at = *local;
			break;
		}
		if (probe == PG_LOCALS_PROBES)
			return -ENOSPC;
	}
	return 0;
}

/* Writes what differs, new addresses before old ones go. */
static int write_table(const struct pg_locals *locals, const struct pg_local *table)
{
	struct pg_local old;

	for (int removing = 0; removing < 2; removing++)
		for (uint32_t i = 0; i < PG_LOCALS_SLOTS; i++) {
			bool empty = !(table[i].address[0] | table[i].address[1]);

			if (empty != removing || bpf_map_lookup_elem(locals->map, &i, &old) ||
			    !memcmp(&old, &table[i], sizeof(old)))
				continue;
			if (bpf_map_update_elem(locals->map, &i, &table[i], BPF_ANY))
				return -errno;
		}
	return 0;
}

static int read_answers(struct pg_locals *locals, struct mnl_socket *socket, unsigned int port)
{
	char buffer[NOTICE_BYTES];
	int more = 1;

	while (more > 0) {
		ssize_t bytes = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));

		if (bytes < 0)
			return -errno;
		more = mnl_cb_run(buffer, bytes, 1, port, take_address, locals);
		if (more < 0)
			return -errno;
	}
	return 0;
}

static int read_all(struct pg_locals *locals)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	char buffer[256];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	PG_FREE struct pg_local *table = calloc(PG_LOCALS_SLOTS, sizeof(*table));
	struct ifaddrmsg *message;
	int err;

	if (!table)
		return -ENOMEM;
	if (!socket)
		return -errno;
	header->nlmsg_type = RTM_GETADDR;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = 1;
	message = mnl_nlmsg_put_extra_header(header, sizeof(*message));
	message->ifa_family = AF_UNSPEC;
	locals->count = 0;
	locals->result = 0;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(socket, header, header->nlmsg_len) < 0)
		err = -errno;
	else
		err = read_answers(locals, socket, mnl_socket_get_portid(socket));
	mnl_socket_close(socket);
	if (!err)
		err = locals->result;
	if (!err)
		err = place(locals, table);
	return err ? err : write_table(locals, table);
}

int pg_locals_open(int map_fd, struct pg_locals **ret_locals, struct pg_error *error)
{
	struct pg_locals *locals = calloc(1, sizeof(*locals));
	int err = 0;

	if (!locals)
		return pg_error_set(error, -ENOMEM, "out of memory");
	locals->map = map_fd;
	locals->notices = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!locals->notices ||
	    mnl_socket_bind(locals->notices, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
			    MNL_SOCKET_AUTOPID) < 0)
		err = -errno;
	/* listen first, then read: nothing falls between */
	if (!err)
		err = read_all(locals);
	if (err) {
		pg_locals_close(locals);
		return pg_error_set(error, err, "reading the local addresses from rtnetlink: %s",
				    strerror(-err));
	}
	*ret_locals = locals;
	return 0;
}

void pg_locals_close(struct pg_locals *locals)
{
	if (!locals)
		return;
	if (locals->notices)
		mnl_socket_close(locals->notices);
	free(locals->seen);
	free(locals);
}

int pg_locals_fd(const struct pg_locals *locals)
{
	return mnl_socket_get_fd(locals->notices);
}

int pg_locals_update(struct pg_locals *locals, struct pg_error *error)
{
	char buffer[NOTICE_BYTES];
	int err;

	/* whatever the notices say, or said before one was lost: the reading tells */
	while (mnl_socket_recvfrom(locals->notices, buffer, sizeof(buffer)) > 0)
		;
	err = read_all(locals);
	return err ? pg_error_set(error, err, "reading the local addresses again: %s",
				  strerror(-err))
		   : 0;
}
