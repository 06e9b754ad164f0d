// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "shield_tc.h"
#include "shield_tc.skel.h"

/* Younger than the headers of Debian 12. */
#define ATTACH_TCX_INGRESS 46
#define LINK_TYPE_TCX	   11
#define KFUNC		   "bpf_sk_assign_tcp_reqsk"

static void free_btf(struct btf **btf)
{
	btf__free(*btf);
}

static void free_skeleton(struct shield_tc_bpf **skeleton)
{
	shield_tc_bpf__destroy(*skeleton);
}

int pg_shield_tc_supported(struct pg_error *error)
{
	PG_CLEANUP(free_btf) struct btf *btf = btf__load_vmlinux_btf();

	if (!btf)
		return pg_error_set(error, -EOPNOTSUPP, "the kernel's BTF cannot be read");
	if (btf__find_by_name_kind(btf, KFUNC, BTF_KIND_FUNC) < 0)
		return pg_error_set(error, -EOPNOTSUPP,
				    "the kernel has no " KFUNC " (Linux 6.9 or newer)");
	return 0;
}

static int load(const struct pg_maps *maps, struct shield_tc_bpf **ret_skeleton,
		struct pg_error *error)
{
	PG_CLEANUP(free_skeleton) struct shield_tc_bpf *skeleton = shield_tc_bpf__open();
	int err;

	if (!skeleton)
		return pg_error_set(error, -errno, "opening the shield's TC object: %s",
				    strerror(errno));
	err = pg_maps_share(maps, skeleton->obj);
	if (!err)
		err = shield_tc_bpf__load(skeleton);
	if (err)
		return pg_error_set(error, err, "loading the shield's TC program: %s",
				    strerror(-err));
	*ret_skeleton = TAKE_PTR(skeleton);
	return 0;
}

static bool link_holds(int fd, uint32_t ifindex)
{
	struct bpf_link_info info = { 0 };
	uint32_t bytes = sizeof(info);

	/* the interface's index stands where an XDP link has it */
	return !bpf_obj_get_info_by_fd(fd, &info, &bytes) && info.type == LINK_TYPE_TCX &&
	       info.xdp.ifindex == ifindex;
}

static int swap_pinned(const char *path, uint32_t ifindex, int program, int *ret_link)
{
	PG_CLOSE int fd = bpf_obj_get(path);
	int err;

	if (fd < 0)
		return -ENOENT;
	if (!link_holds(fd, ifindex)) {
		unlink(path);
		return -ENOENT;
	}
	err = bpf_link_update(fd, program, NULL);
	if (!err)
		*ret_link = TAKE_FD(fd);
	return err;
}

static int attach_new(const char *path, uint32_t ifindex, int program, int *ret_link)
{
	PG_CLOSE int fd = bpf_link_create(program, (int)ifindex,
					  (enum bpf_attach_type)ATTACH_TCX_INGRESS, NULL);

	if (fd < 0)
		return fd;
	if (bpf_obj_pin(fd, path))
		return -errno;
	*ret_link = TAKE_FD(fd);
	return 0;
}

int pg_shield_tc_attach(const struct pg_maps *maps, const char *interface, const char *directory,
			int *ret_link, struct pg_error *error)
{
	PG_CLEANUP(free_skeleton) struct shield_tc_bpf *skeleton = NULL;
	uint32_t ifindex = if_nametoindex(interface);
	int err = pg_shield_tc_supported(error), program;
	char path[256];

	if (!err)
		err = load(maps, &skeleton, error);
	if (err)
		return err;
	program = bpf_program__fd(skeleton->progs.pg_shield_tc);
	snprintf(path, sizeof(path), "%s/shield_link", directory);
	err = swap_pinned(path, ifindex, program, ret_link);
	if (err == -ENOENT)
		err = attach_new(path, ifindex, program, ret_link);
	if (err)
		return pg_error_set(error, err, "attaching the shield to TC ingress of %s: %s",
				    interface, strerror(-err));
	return 0;
}

bool pg_shield_tc_attached(int link, const char *interface)
{
	uint32_t ifindex = if_nametoindex(interface);

	return link >= 0 && ifindex && link_holds(link, ifindex);
}

void pg_shield_tc_detach(const char *directory, int link)
{
	char path[256];

	if (link >= 0) {
		bpf_link_detach(link);
		close(link);
	}
	snprintf(path, sizeof(path), "%s/shield_link", directory);
	unlink(path);
}
