// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "shield_seed.h"
#include "shield_seed.skel.h"

struct pg_shield_seed {
	struct shield_seed_bpf *skeleton;
	struct bpf_link *link;
};

void pg_shield_seed_free(struct pg_shield_seed *seed)
{
	if (!seed)
		return;
	bpf_link__destroy(seed->link);
	shield_seed_bpf__destroy(seed->skeleton);
	free(seed);
}

static void free_seed(struct pg_shield_seed **seed)
{
	pg_shield_seed_free(*seed);
}

int pg_shield_seed_open(const struct pg_maps *maps, struct pg_shield_seed **ret_seed,
			struct pg_error *error)
{
	PG_CLEANUP(free_seed) struct pg_shield_seed *seed = calloc(1, sizeof(*seed));
	int err;

	if (!seed)
		return pg_error_set(error, -ENOMEM, "out of memory");
	seed->skeleton = shield_seed_bpf__open();
	if (!seed->skeleton)
		return pg_error_set(error, -errno, "opening the walk over TCP sockets: %s",
				    strerror(errno));
	err = pg_maps_share(maps, seed->skeleton->obj);
	if (!err)
		err = shield_seed_bpf__load(seed->skeleton);
	if (err)
		return pg_error_set(error, err, "loading the walk over TCP sockets: %s",
				    strerror(-err));
	seed->link = bpf_program__attach_iter(seed->skeleton->progs.pg_shield_seed, NULL);
	if (!seed->link)
		return pg_error_set(error, -errno, "attaching the walk over TCP sockets: %s",
				    strerror(errno));
	*ret_seed = TAKE_PTR(seed);
	return 0;
}

int pg_shield_seed_fill(struct pg_shield_seed *seed, uint32_t row, struct pg_error *error)
{
	PG_CLOSE int fd = bpf_iter_create(bpf_link__fd(seed->link));
	char nothing[64];
	ssize_t bytes;

	if (fd < 0)
		return pg_error_set(error, fd, "starting the walk over TCP sockets: %s",
				    strerror(-fd));
	seed->skeleton->bss->row = row;
	do {
		bytes = read(fd, nothing, sizeof(nothing));
	} while (bytes > 0 || (bytes < 0 && (errno == EINTR || errno == EAGAIN)));
	if (bytes < 0)
		return pg_error_set(error, -errno, "walking over TCP sockets: %s", strerror(errno));
	return 0;
}
