// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "inbox.h"

void pg_waiter_init(struct pg_waiter *waiter)
{
	pthread_mutex_init(&waiter->lock, NULL);
	pthread_cond_init(&waiter->done, NULL);
	waiter->pending = 0;
	waiter->result = 0;
}

void pg_waiter_add(struct pg_waiter *waiter)
{
	pthread_mutex_lock(&waiter->lock);
	waiter->pending++;
	pthread_mutex_unlock(&waiter->lock);
}

void pg_waiter_done(struct pg_waiter *waiter, int result)
{
	pthread_mutex_lock(&waiter->lock);
	if (result && !waiter->result)
		waiter->result = result;
	if (!--waiter->pending)
		pthread_cond_signal(&waiter->done);
	pthread_mutex_unlock(&waiter->lock);
}

int pg_waiter_wait(struct pg_waiter *waiter)
{
	pthread_mutex_lock(&waiter->lock);
	while (waiter->pending)
		pthread_cond_wait(&waiter->done, &waiter->lock);
	pthread_mutex_unlock(&waiter->lock);
	pthread_cond_destroy(&waiter->done);
	pthread_mutex_destroy(&waiter->lock);
	return waiter->result;
}

int pg_inbox_init(struct pg_inbox *inbox)
{
	inbox->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (inbox->wake_fd < 0)
		return -errno;
	pthread_mutex_init(&inbox->lock, NULL);
	inbox->first = NULL;
	inbox->last = &inbox->first;
	inbox->frames = 0;
	inbox->bytes = 0;
	return 0;
}

void pg_inbox_done(struct pg_inbox *inbox)
{
	struct pg_message *message;

	while ((message = pg_inbox_take(inbox)))
		free(message);
	pthread_mutex_destroy(&inbox->lock);
	close(inbox->wake_fd);
}

struct pg_message *pg_message_new(enum pg_message_kind kind, const void *data, uint32_t bytes)
{
	struct pg_message *message = calloc(1, sizeof(*message) + bytes);

	if (!message)
		return NULL;
	message->kind = kind;
	message->bytes = bytes;
	if (bytes)
		memcpy(message->data, data, bytes);
	return message;
}

static bool bounded(const struct pg_message *message)
{
	return message->kind == PG_MESSAGE_FRAME || message->kind == PG_MESSAGE_APP;
}

int pg_inbox_post(struct pg_inbox *inbox, struct pg_message *message)
{
	uint64_t one = 1;
	bool wake;

	message->next = NULL;
	pthread_mutex_lock(&inbox->lock);
	if (bounded(message) && inbox->frames &&
	    (inbox->frames >= PG_INBOX_FRAMES_MAX ||
	     inbox->bytes + message->bytes > PG_INBOX_BYTES_MAX)) {
		pthread_mutex_unlock(&inbox->lock);
		return -EAGAIN;
	}
	inbox->frames += bounded(message);
	inbox->bytes += bounded(message) ? message->bytes : 0;
	wake = !inbox->first;
	__atomic_store_n(inbox->last, message, __ATOMIC_RELEASE);
	inbox->last = &message->next;
	pthread_mutex_unlock(&inbox->lock);
	/* a full eventfd counter is awake already */
	if (wake && write(inbox->wake_fd, &one, sizeof(one)) < 0)
		return 0;
	return 0;
}

struct pg_message *pg_inbox_take(struct pg_inbox *inbox)
{
	struct pg_message *message;

	if (!__atomic_load_n(&inbox->first, __ATOMIC_ACQUIRE))
		return NULL;
	pthread_mutex_lock(&inbox->lock);
	message = inbox->first;
	if (message) {
		__atomic_store_n(&inbox->first, message->next, __ATOMIC_RELEASE);
		if (!message->next)
			inbox->last = &inbox->first;
		inbox->frames -= bounded(message);
		inbox->bytes -= bounded(message) ? message->bytes : 0;
	}
	pthread_mutex_unlock(&inbox->lock);
	return message;
}
