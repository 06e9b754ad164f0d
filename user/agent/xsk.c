// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <xdp/xsk.h>

#include "cleanup.h"
#include "xsk.h"

#define CHUNK_BYTES   4096
#define RX_CHUNKS     4096
#define TX_CHUNKS     4096
#define RX_RING	      2048
#define TX_RING	      2048
#define SEND_PER_CALL 32 /* descriptors that one sendto takes in copy mode */
#define BIND_TRIES    200
#define BIND_WAIT_NS  10000000 /* the kernel frees a dead process's socket a moment later */

/* Since 6.17: how many descriptors one sendto takes in copy mode. */
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9
#endif

struct pg_xsk {
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completed;
	struct xsk_ring_cons rx;
	struct xsk_ring_prod tx;
	struct xsk_umem *umem;
	struct xsk_socket *socket;
	uint8_t *area;
	size_t area_bytes;
	uint32_t queued;      /* descriptors in the ring since the last flush */
	uint32_t outstanding; /* handed to the kernel, not completed */
	uint32_t send_per_call;
	uint32_t free_count;
	uint64_t free[TX_CHUNKS];
};

static void fill(struct pg_xsk *xsk)
{
	uint32_t index = 0;

	if (xsk_ring_prod__reserve(&xsk->fill, RX_CHUNKS, &index) != RX_CHUNKS)
		return;
	for (uint32_t i = 0; i < RX_CHUNKS; i++)
		*xsk_ring_prod__fill_addr(&xsk->fill, index + i) = (uint64_t)i * CHUNK_BYTES;
	xsk_ring_prod__submit(&xsk->fill, RX_CHUNKS);
}

static int create_umem(struct pg_xsk *xsk)
{
	struct xsk_umem_config config = {
		.fill_size = RX_CHUNKS,
		.comp_size = TX_RING,
		.frame_size = CHUNK_BYTES,
		.frame_headroom = 0,
	};

	xsk->area_bytes = (size_t)(RX_CHUNKS + TX_CHUNKS) * CHUNK_BYTES;
	xsk->area = mmap(NULL, xsk->area_bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (xsk->area == MAP_FAILED) {
		xsk->area = NULL;
		return -errno;
	}
	return xsk_umem__create(&xsk->umem, xsk->area, xsk->area_bytes, &xsk->fill, &xsk->completed,
				&config);
}

static int create_socket(struct pg_xsk *xsk, const char *interface, uint32_t queue, bool zerocopy)
{
	struct xsk_socket_config config = {
		.rx_size = RX_RING,
		.tx_size = TX_RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_USE_NEED_WAKEUP | (zerocopy ? XDP_ZEROCOPY : XDP_COPY),
	};
	struct timespec wait = { .tv_nsec = BIND_WAIT_NS };
	int err;

	for (int i = 0; i < BIND_TRIES; i++) {
		err = xsk_socket__create(&xsk->socket, interface, queue, xsk->umem, &xsk->rx,
					 &xsk->tx, &config);
		if (err != -EBUSY)
			return err;
		nanosleep(&wait, NULL);
	}
	return err;
}

/* A whole batch in one call, where the kernel can be told. */
static void set_send_budget(struct pg_xsk *xsk)
{
	uint32_t budget = PG_XSK_BATCH;

	xsk->send_per_call = SEND_PER_CALL;
	if (!setsockopt(xsk_socket__fd(xsk->socket), SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget,
			sizeof(budget)))
		xsk->send_per_call = budget;
}

static const char *advice(int err)
{
	switch (-err) {
	case ENOBUFS:
	case ENOMEM:
		return "grant CAP_IPC_LOCK or raise memlock";
	case EPERM:
		return "grant CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF";
	case EBUSY:
		return "another AF_XDP socket holds this queue";
	case EOPNOTSUPP:
	case EINVAL:
		return "the driver does not offer this mode";
	default:
		return "see packgate doctor";
	}
}

int pg_xsk_open(const char *interface, uint32_t queue, bool zerocopy, struct pg_xsk **ret_xsk,
		struct pg_error *error)
{
	struct pg_xsk *xsk = calloc(1, sizeof(*xsk));
	int err = -ENOMEM;

	if (xsk)
		err = create_umem(xsk);
	if (!err)
		err = create_socket(xsk, interface, queue, zerocopy);
	if (err) {
		pg_xsk_close(xsk);
		return pg_error_set(error, err, "AF_XDP socket on %s queue %u, %s: %s; %s",
				    interface, queue, zerocopy ? "zero-copy" : "copy",
				    strerror(-err), advice(err));
	}
	fill(xsk);
	set_send_budget(xsk);
	for (uint32_t i = 0; i < TX_CHUNKS; i++)
		xsk->free[xsk->free_count++] = (uint64_t)(RX_CHUNKS + i) * CHUNK_BYTES;
	*ret_xsk = xsk;
	return 0;
}

void pg_xsk_close(struct pg_xsk *xsk)
{
	if (!xsk)
		return;
	if (xsk->socket)
		xsk_socket__delete(xsk->socket);
	if (xsk->umem)
		xsk_umem__delete(xsk->umem);
	if (xsk->area)
		munmap(xsk->area, xsk->area_bytes);
	free(xsk);
}

int pg_xsk_fd(const struct pg_xsk *xsk)
{
	return xsk_socket__fd(xsk->socket);
}

uint32_t pg_xsk_receive(struct pg_xsk *xsk, struct pg_xsk_frame *frames)
{
	uint32_t index = 0;
	uint32_t count = xsk_ring_cons__peek(&xsk->rx, PG_XSK_BATCH, &index);

	for (uint32_t i = 0; i < count; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&xsk->rx, index + i);

		frames[i].address = desc->addr;
		frames[i].data = xsk_umem__get_data(xsk->area, desc->addr);
		frames[i].bytes = desc->len;
	}
	if (count)
		xsk_ring_cons__release(&xsk->rx, count);
	return count;
}

void pg_xsk_release(struct pg_xsk *xsk, const struct pg_xsk_frame *frames, uint32_t count)
{
	uint32_t index = 0;

	/* the ring holds every RX chunk there is: there is always room */
	if (xsk_ring_prod__reserve(&xsk->fill, count, &index) != count)
		return;
	for (uint32_t i = 0; i < count; i++)
		*xsk_ring_prod__fill_addr(&xsk->fill, index + i) =
			frames[i].address & ~(uint64_t)(CHUNK_BYTES - 1);
	xsk_ring_prod__submit(&xsk->fill, count);
	if (xsk_ring_prod__needs_wakeup(&xsk->fill))
		recvfrom(xsk_socket__fd(xsk->socket), NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

static void reclaim(struct pg_xsk *xsk)
{
	uint32_t index = 0;
	uint32_t count = xsk_ring_cons__peek(&xsk->completed, TX_RING, &index);

	for (uint32_t i = 0; i < count; i++)
		xsk->free[xsk->free_count++] =
			*xsk_ring_cons__comp_addr(&xsk->completed, index + i) &
			~(uint64_t)(CHUNK_BYTES - 1);
	if (count)
		xsk_ring_cons__release(&xsk->completed, count);
	xsk->outstanding -= count;
}

uint8_t *pg_xsk_alloc(struct pg_xsk *xsk)
{
	if (xsk->queued + xsk->outstanding >= TX_RING - PG_XSK_BATCH)
		reclaim(xsk);
	if (xsk->queued + xsk->outstanding >= TX_RING && xsk->queued)
		pg_xsk_flush(xsk);
	if (!xsk->free_count || xsk->queued + xsk->outstanding >= TX_RING)
		return NULL;
	return xsk->area + xsk->free[--xsk->free_count];
}

void pg_xsk_cancel(struct pg_xsk *xsk, uint8_t *room)
{
	xsk->free[xsk->free_count++] = (uint64_t)(room - xsk->area) & ~(uint64_t)(CHUNK_BYTES - 1);
}

void pg_xsk_send(struct pg_xsk *xsk, uint8_t *start, uint32_t bytes)
{
	struct xdp_desc *desc;
	uint32_t index = 0;

	if (xsk_ring_prod__reserve(&xsk->tx, 1, &index) != 1) {
		pg_xsk_cancel(xsk, start);
		return;
	}
	desc = xsk_ring_prod__tx_desc(&xsk->tx, index);
	desc->addr = start - xsk->area;
	desc->len = bytes;
	desc->options = 0;
	xsk_ring_prod__submit(&xsk->tx, 1);
	xsk->queued++;
}

/* Descriptors that the kernel has not taken from the ring yet. */
static uint32_t untaken(const struct pg_xsk *xsk)
{
	return xsk->tx.cached_prod - __atomic_load_n(xsk->tx.consumer, __ATOMIC_ACQUIRE);
}

bool pg_xsk_flushed(const struct pg_xsk *xsk)
{
	return !untaken(xsk);
}

void pg_xsk_flush(struct pg_xsk *xsk)
{
	uint32_t calls;

	xsk->outstanding += xsk->queued;
	xsk->queued = 0;
	if (!xsk->outstanding)
		return;
	/* what was taken completes by itself: no call is made for it */
	calls = (untaken(xsk) + xsk->send_per_call - 1) / xsk->send_per_call;
	while (calls-- && xsk_ring_prod__needs_wakeup(&xsk->tx))
		if (sendto(xsk_socket__fd(xsk->socket), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 &&
		    errno != EAGAIN && errno != EBUSY && errno != ENOBUFS)
			break;
	reclaim(xsk);
}

int pg_xsk_statistics(const struct pg_xsk *xsk, struct xdp_statistics *ret_statistics)
{
	socklen_t bytes = sizeof(*ret_statistics);

	memset(ret_statistics, 0, sizeof(*ret_statistics));
	if (getsockopt(xsk_socket__fd(xsk->socket), SOL_XDP, XDP_STATISTICS, ret_statistics,
		       &bytes))
		return -errno;
	return 0;
}
