// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <bpf/libbpf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent_internal.h"

/*
 * One thread empties pg_events and copies each sampled drop to every follower's ring; a follower
 * that is too slow loses the oldest and is told how many.
 */
#define FOLLOWER_EVENTS 1024
#define POLL_MS		200

struct pg_follower {
	struct pg_followers *all;
	uint64_t first, next; /* events kept: [first, next) modulo the ring */
	uint64_t lost;
	struct pg_event events[FOLLOWER_EVENTS];
};

struct pg_followers {
	pthread_mutex_t lock;
	pthread_cond_t news;
	pthread_t thread;
	bool stopping;
	struct pg_shared *shared;
	struct ring_buffer *ring;
	struct pg_follower *list[PG_FOLLOWERS_MAX];
};

static int take(void *context, void *data, size_t bytes)
{
	struct pg_followers *all = context;

	if (bytes < sizeof(struct pg_event))
		return 0;
	pthread_mutex_lock(&all->lock);
	for (int i = 0; i < PG_FOLLOWERS_MAX; i++) {
		struct pg_follower *follower = all->list[i];

		if (!follower)
			continue;
		if (follower->next - follower->first == FOLLOWER_EVENTS) {
			follower->first++;
			follower->lost++;
		}
		memcpy(&follower->events[follower->next++ % FOLLOWER_EVENTS], data,
		       sizeof(struct pg_event));
	}
	pthread_cond_broadcast(&all->news);
	pthread_mutex_unlock(&all->lock);
	return 0;
}

static void *loop(void *context)
{
	struct pg_followers *all = context;

	while (!__atomic_load_n(&all->stopping, __ATOMIC_ACQUIRE))
		ring_buffer__poll(all->ring, POLL_MS);
	return NULL;
}

int pg_followers_open(struct pg_agent *agent, struct pg_error *error)
{
	struct pg_followers *all = calloc(1, sizeof(*all));
	sigset_t every, before;
	int err;

	if (!all)
		return pg_error_set(error, -ENOMEM, "out of memory");
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->news, NULL);
	all->shared = agent->maps->shared;
	all->shared->sample_mask = UINT32_MAX;
	all->ring = ring_buffer__new(agent->maps->events, take, all, NULL);
	if (!all->ring) {
		err = -errno;
		free(all);
		return pg_error_set(error, err, "opening the ring of drop events: %s",
				    strerror(-err));
	}
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	err = pthread_create(&all->thread, NULL, loop, all);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		ring_buffer__free(all->ring);
		free(all);
		return pg_error_set(error, -err, "starting the event thread: %s", strerror(err));
	}
	agent->followers = all;
	return 0;
}

void pg_followers_close(struct pg_agent *agent)
{
	struct pg_followers *all = agent->followers;

	if (!all)
		return;
	__atomic_store_n(&all->stopping, true, __ATOMIC_RELEASE);
	all->shared->sample_mask = UINT32_MAX;
	pthread_join(all->thread, NULL);
	pthread_mutex_lock(&all->lock);
	pthread_cond_broadcast(&all->news);
	pthread_mutex_unlock(&all->lock);
	ring_buffer__free(all->ring);
	all->ring = NULL;
}

/* Samples every drop while somebody follows, none otherwise. */
static void set_sampling(struct pg_followers *all)
{
	bool any = false;

	for (int i = 0; i < PG_FOLLOWERS_MAX; i++)
		any |= all->list[i] != NULL;
	all->shared->sample_mask = any ? 0 : UINT32_MAX;
}

int pg_agent_follow(struct pg_agent *agent, struct pg_follower **ret_follower,
		    struct pg_error *error)
{
	struct pg_followers *all = agent->followers;
	struct pg_follower *follower = calloc(1, sizeof(*follower));
	int place = -1;

	if (!follower)
		return pg_error_set(error, -ENOMEM, "out of memory");
	follower->all = all;
	pthread_mutex_lock(&all->lock);
	for (int i = 0; i < PG_FOLLOWERS_MAX && place < 0; i++)
		if (!all->list[i])
			place = i;
	if (place >= 0)
		all->list[place] = follower;
	set_sampling(all);
	pthread_mutex_unlock(&all->lock);
	if (place < 0) {
		free(follower);
		return pg_error_set(error, -EBUSY, "%d clients follow the drops already",
				    PG_FOLLOWERS_MAX);
	}
	*ret_follower = follower;
	return 0;
}

int pg_follower_read(struct pg_follower *follower, struct pg_event *events, size_t max,
		     int timeout_ms, uint64_t *ret_lost)
{
	struct pg_followers *all = follower->all;
	struct timespec until;
	size_t count = 0;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000l) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000l;
	}
	pthread_mutex_lock(&all->lock);
	while (follower->first == follower->next && !err && !all->stopping)
		err = pthread_cond_timedwait(&all->news, &all->lock, &until);
	while (follower->first != follower->next && count < max)
		events[count++] = follower->events[follower->first++ % FOLLOWER_EVENTS];
	*ret_lost = follower->lost;
	err = !count && all->stopping ? -ESHUTDOWN : 0;
	pthread_mutex_unlock(&all->lock);
	return err ? err : (int)count;
}

void pg_follower_free(struct pg_follower *follower)
{
	struct pg_followers *all;

	if (!follower)
		return;
	all = follower->all;
	pthread_mutex_lock(&all->lock);
	for (int i = 0; i < PG_FOLLOWERS_MAX; i++)
		if (all->list[i] == follower)
			all->list[i] = NULL;
	if (!all->stopping)
		set_sampling(all);
	pthread_mutex_unlock(&all->lock);
	free(follower);
}
