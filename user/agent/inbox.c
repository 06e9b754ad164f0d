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

static bool full(const struct pg_inbox *inbox, const struct pg_message *message)
{
	return bounded(message) && inbox->frames &&
	       (inbox->frames >= PG_INBOX_FRAMES_MAX ||
		inbox->bytes + message->bytes > PG_INBOX_BYTES_MAX);
}

static void append(struct pg_inbox *inbox, struct pg_message *message)
{
	message->next = NULL;
	inbox->frames += bounded(message);
	inbox->bytes += bounded(message) ? message->bytes : 0;
	__atomic_store_n(inbox->last, message, __ATOMIC_RELEASE);
	inbox->last = &message->next;
}

static void wake(struct pg_inbox *inbox)
{
	uint64_t one = 1;

	/* a full eventfd counter is awake already */
	if (write(inbox->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static int post(struct pg_inbox *inbox, struct pg_message *message, const _Atomic uint8_t *owner,
		uint8_t index)
{
	bool was_empty;
	int err = 0;

	pthread_mutex_lock(&inbox->lock);
	was_empty = !inbox->first;
	if (owner && atomic_load(owner) != index)
		err = -ESTALE;
	else if (full(inbox, message))
		err = -EAGAIN;
	else
		append(inbox, message);
	pthread_mutex_unlock(&inbox->lock);
	if (!err && was_empty)
		wake(inbox);
	return err;
}

int pg_inbox_post(struct pg_inbox *inbox, struct pg_message *message)
{
	return post(inbox, message, NULL, 0);
}

int pg_inbox_post_owned(struct pg_inbox *inbox, struct pg_message *message,
			const _Atomic uint8_t *owner, uint8_t index)
{
	return post(inbox, message, owner, index);
}

static bool concerns(const struct pg_message *message, uint32_t slot)
{
	switch (message->kind) {
	case PG_MESSAGE_APP:
		return message->app.slot == slot;
	case PG_MESSAGE_CLOSE:
		return message->close.slot == slot;
	case PG_MESSAGE_LIST:
		return message->list.first == slot && message->list.last == slot + 1;
	case PG_MESSAGE_RESERVED:
		return message->reserved.slot == slot;
	default:
		return false;
	}
}

/* Takes message, the one that *at points to, out of the list. */
static void take_out(struct pg_inbox *inbox, struct pg_message **at)
{
	struct pg_message *message = *at;

	__atomic_store_n(at, message->next, __ATOMIC_RELEASE);
	if (!message->next)
		inbox->last = at;
	inbox->frames -= bounded(message);
	inbox->bytes -= bounded(message) ? message->bytes : 0;
}

/* Both locks in one order for everybody: two workers may hand over to each other. */
static void lock_both(struct pg_inbox *a, struct pg_inbox *b)
{
	pthread_mutex_lock((uintptr_t)a < (uintptr_t)b ? &a->lock : &b->lock);
	pthread_mutex_lock((uintptr_t)a < (uintptr_t)b ? &b->lock : &a->lock);
}

void pg_inbox_hand_over(struct pg_inbox *from, struct pg_inbox *to, struct pg_message *message,
			uint32_t slot, _Atomic uint8_t *owner, uint8_t index)
{
	struct pg_message **at = &from->first, *moved;
	bool was_empty;

	lock_both(from, to);
	was_empty = !to->first;
	append(to, message);
	while ((moved = *at)) {
		if (!concerns(moved, slot)) {
			at = &moved->next;
			continue;
		}
		take_out(from, at);
		append(to, moved);
	}
	atomic_store(owner, index);
	pthread_mutex_unlock(&from->lock);
	pthread_mutex_unlock(&to->lock);
	if (was_empty)
		wake(to);
}

struct pg_message *pg_inbox_take(struct pg_inbox *inbox)
{
	struct pg_message *message;

	if (!__atomic_load_n(&inbox->first, __ATOMIC_ACQUIRE))
		return NULL;
	pthread_mutex_lock(&inbox->lock);
	message = inbox->first;
	if (message)
		take_out(inbox, &inbox->first);
	pthread_mutex_unlock(&inbox->lock);
	return message;
}
