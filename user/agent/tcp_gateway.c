// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "http_listen.h"
#include "log.h"
#include "tcp_gateway_internal.h"

#define BACKLOG	     4096 /* the kernel cuts it to somaxconn */
#define EVENTS	     256
#define OTHER_FDS    512 /* descriptors that are not connections of ours */
#define SLEEP_MAX_MS 1000

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

/* --- plans -------------------------------------------------------------------------------------
 */

struct pg_tcp_plan {
	uint32_t count;
	uint64_t buffer_bytes;
	struct pg_tcp_listener entrances[PG_CONFIG_ENTRANCES_MAX];
};

void pg_tcp_plan_free(struct pg_tcp_plan *plan)
{
	if (!plan)
		return;
	for (uint32_t i = 0; i < plan->count; i++) {
		if (plan->entrances[i].fd >= 0)
			close(plan->entrances[i].fd);
		SSL_CTX_free(plan->entrances[i].tls);
	}
	free(plan);
}

/* The socket that listens there already, or a new one. */
static int listen_at(struct pg_tcp_gateway *gateway, const struct pg_entrance_config *config,
		     int *ret_fd, struct pg_error *error)
{
	struct pg_peer where = { config->address, config->port };
	int err;

	for (uint32_t i = 0; i < PG_CONFIG_ENTRANCES_MAX; i++) {
		const struct pg_tcp_listener *other = &gateway->entrances[i];

		if (!other->used || other->config.port != config->port ||
		    !pg_address_equal(&other->config.address, &config->address))
			continue;
		*ret_fd = fcntl(other->fd, F_DUPFD_CLOEXEC, 0);
		return *ret_fd < 0 ? pg_error_set(error, -errno, "entrance %s: %s", config->name,
						  strerror(errno))
				   : 0;
	}
	err = pg_listen_tcp(&where, ret_fd, error);
	if (err)
		return pg_error_prefix(error, err, "entrance %s", config->name);
	listen(*ret_fd, BACKLOG);
	return 0;
}

static int plan_one(struct pg_tcp_gateway *gateway, const struct pg_entrance_config *config,
		    struct pg_tcp_listener *entrance, struct pg_error *error)
{
	struct pg_tcp_entrance *status = &entrance->status;
	int err;

	entrance->fd = -1;
	entrance->config = *config;
	snprintf(status->name, sizeof(status->name), "%s", config->name);
	snprintf(status->endpoint, sizeof(status->endpoint), "%s", config->endpoint);
	status->listen.address = config->address;
	status->listen.port = config->port;
	status->max_connections = config->max_connections;
	status->max_per_source = config->max_connections_per_source;
	status->tls = config->tls.certificate[0];
	err = status->tls ? pg_tcp_tls_context(config, &entrance->tls, error) : 0;
	return err ? err : listen_at(gateway, config, &entrance->fd, error);
}

/* Every connection is a descriptor: says when there cannot be as many as are configured. */
static void check_descriptors(const struct pg_config *config)
{
	struct rlimit limit;
	uint64_t wanted = OTHER_FDS;

	for (size_t i = 0; i < config->entrance_count; i++)
		wanted += config->entrances[i].max_connections;
	if (!config->entrance_count || getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < wanted)
		pg_warning_log("the entrances may have %llu connections, but the process only %llu "
			       "open files: raise LimitNOFILE= of the unit (ulimit -n)",
			       (unsigned long long)(wanted - OTHER_FDS),
			       (unsigned long long)limit.rlim_cur);
}

int pg_tcp_gateway_plan(struct pg_tcp_gateway *gateway, const struct pg_config *config,
			struct pg_tcp_plan **ret_plan, struct pg_error *error)
{
	struct pg_tcp_plan *plan = calloc(1, sizeof(*plan));
	int err = 0;

	if (!plan)
		return pg_error_set(error, -ENOMEM, "out of memory");
	plan->buffer_bytes = config->limits.tcp_buffer_bytes;
	for (size_t i = 0; i < config->entrance_count && !err; i++) {
		plan->count = i + 1;
		err = plan_one(gateway, &config->entrances[i], &plan->entrances[i], error);
	}
	if (err) {
		pg_tcp_plan_free(plan);
		return err;
	}
	check_descriptors(config);
	*ret_plan = plan;
	return 0;
}

const struct pg_entrance_config *pg_tcp_plan_entrance(const struct pg_tcp_plan *plan,
						      uint32_t index)
{
	return index < plan->count ? &plan->entrances[index].config : NULL;
}

void pg_tcp_plan_set_endpoint(struct pg_tcp_plan *plan, uint32_t index, uint16_t endpoint)
{
	plan->entrances[index].endpoint = endpoint;
}

/* --- applying, in the gateway's thread ---------------------------------------------------------
 */

static void stop_listening(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance)
{
	epoll_ctl(gateway->epoll_fd, EPOLL_CTL_DEL, entrance->fd, NULL);
	close(entrance->fd);
	SSL_CTX_free(entrance->tls);
	entrance->fd = -1;
	entrance->tls = NULL;
}

static void remove_entrance(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance)
{
	struct pg_tcp_connection *connection, *next;

	for (connection = gateway->connections; connection; connection = next) {
		next = connection->next;
		if (connection->entrance == entrance)
			pg_tcp_connection_close(gateway, connection, PG_TCP_CLOSE_REMOVED);
	}
	stop_listening(gateway, entrance);
	entrance->used = false;
}

static struct pg_tcp_listener *planned(struct pg_tcp_plan *plan,
				       const struct pg_tcp_listener *entrance)
{
	for (uint32_t i = 0; i < plan->count; i++)
		if (!strcmp(plan->entrances[i].config.name, entrance->config.name) &&
		    !strcmp(plan->entrances[i].config.endpoint, entrance->config.endpoint) &&
		    plan->entrances[i].endpoint == entrance->endpoint &&
		    plan->entrances[i].status.tls == entrance->status.tls)
			return &plan->entrances[i];
	return NULL;
}

static void start_listening(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = entrance };

	if (epoll_ctl(gateway->epoll_fd, EPOLL_CTL_ADD, entrance->fd, &event))
		pg_error_log("entrance %s: %s", entrance->config.name, strerror(errno));
}

/* An entrance that stays keeps its connections and counters. */
static void change_entrance(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *entrance,
			    struct pg_tcp_listener *from)
{
	stop_listening(gateway, entrance);
	entrance->config = from->config;
	entrance->status.listen = from->status.listen;
	entrance->status.max_connections = from->status.max_connections;
	entrance->status.max_per_source = from->status.max_per_source;
	entrance->fd = TAKE_FD(from->fd);
	entrance->tls = TAKE_PTR(from->tls);
	from->used = true;
	start_listening(gateway, entrance);
}

static void add_entrance(struct pg_tcp_gateway *gateway, struct pg_tcp_listener *from)
{
	struct pg_tcp_listener *entrance = gateway->entrances;
	char text[PG_PEER_TEXT];

	while (entrance->used)
		entrance++;
	*entrance = *from;
	entrance->used = true;
	from->fd = -1;
	from->tls = NULL;
	start_listening(gateway, entrance);
	pg_info_log("entrance %s: messages of endpoint %s on TCP %s%s", entrance->config.name,
		    entrance->config.endpoint,
		    pg_address_print_peer(&entrance->status.listen, text),
		    entrance->tls ? ", TLS" : "");
}

static void apply(struct pg_tcp_gateway *gateway, struct pg_tcp_plan *plan)
{
	gateway->buffer_bytes = plan->buffer_bytes;
	for (uint32_t i = 0; i < PG_CONFIG_ENTRANCES_MAX; i++) {
		struct pg_tcp_listener *entrance = &gateway->entrances[i], *from;

		if (!entrance->used)
			continue;
		from = planned(plan, entrance);
		if (from)
			change_entrance(gateway, entrance, from);
		else
			remove_entrance(gateway, entrance);
	}
	for (uint32_t i = 0; i < plan->count; i++)
		if (!plan->entrances[i].used)
			add_entrance(gateway, &plan->entrances[i]);
}

/* --- the thread --------------------------------------------------------------------------------
 */

static void take_message(struct pg_tcp_gateway *gateway, struct pg_message *message)
{
	switch (message->kind) {
	case PG_MESSAGE_VIEW:
		pg_delivery_set_view(&gateway->delivery, message->view);
		pg_tcp_connections_resume(gateway);
		break;
	case PG_MESSAGE_ENTRANCES:
		apply(gateway, message->plan);
		break;
	case PG_MESSAGE_APP:
		pg_tcp_connection_record(gateway, message);
		break;
	case PG_MESSAGE_STOP:
		gateway->stopping = true;
		break;
	default:
		break;
	}
}

static void take_messages(struct pg_tcp_gateway *gateway)
{
	struct pg_message *message;
	uint64_t count;

	if (read(gateway->inbox.wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	while ((message = pg_inbox_take(&gateway->inbox))) {
		struct pg_waiter *waiter = message->waiter;

		take_message(gateway, message);
		free(message);
		if (waiter)
			pg_waiter_done(waiter, 0);
	}
}

static bool is_entrance(const struct pg_tcp_gateway *gateway, const void *pointer)
{
	const struct pg_tcp_listener *entrance = pointer;

	return entrance >= gateway->entrances &&
	       entrance < gateway->entrances + PG_CONFIG_ENTRANCES_MAX;
}

static void take_events(struct pg_tcp_gateway *gateway)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(gateway->epoll_fd, events, EVENTS, 0);

	for (int i = 0; i < count; i++) {
		void *what = events[i].data.ptr;

		if (!what)
			continue; /* the inbox */
		if (is_entrance(gateway, what))
			pg_tcp_gateway_accept(gateway, what);
		else
			pg_tcp_connection_event(gateway, what, events[i].events);
	}
}

static void fire_timers(struct pg_tcp_gateway *gateway)
{
	struct pg_timer *timer;

	while ((timer = pg_wheel_due(&gateway->wheel, gateway->now_ms)))
		pg_tcp_connection_timer(
			gateway,
			(struct pg_tcp_connection *)((uint8_t *)timer -
						     offsetof(struct pg_tcp_connection, timer)));
}

static void wait(struct pg_tcp_gateway *gateway)
{
	struct pollfd polled[1 + PG_APPS_MAX] = { { .fd = gateway->epoll_fd, .events = POLLIN } };
	uint32_t count = 1 + pg_delivery_fill_polled(&gateway->delivery, polled + 1);
	int timeout = pg_wheel_wait_ms(&gateway->wheel, gateway->now_ms);

	if (timeout < 0 || timeout > SLEEP_MAX_MS)
		timeout = SLEEP_MAX_MS;
	poll(polled, count, timeout);
	gateway->now_ms = clock_ms(CLOCK_MONOTONIC);
}

static void free_dead(struct pg_tcp_gateway *gateway)
{
	struct pg_tcp_connection *next;

	for (; gateway->dead; gateway->dead = next) {
		next = gateway->dead->next;
		free(gateway->dead);
	}
}

static void *loop(void *context)
{
	struct pg_tcp_gateway *gateway = context;

	while (!gateway->stopping) {
		wait(gateway);
		take_messages(gateway);
		take_events(gateway);
		fire_timers(gateway);
		pg_delivery_flush(&gateway->delivery);
		if (pg_delivery_unblock(&gateway->delivery))
			pg_tcp_connections_resume(gateway);
		pg_delivery_flush(&gateway->delivery);
		free_dead(gateway);
	}
	for (uint32_t i = 0; i < PG_CONFIG_ENTRANCES_MAX; i++)
		if (gateway->entrances[i].used)
			remove_entrance(gateway, &gateway->entrances[i]);
	pg_delivery_flush(&gateway->delivery);
	free_dead(gateway);
	return NULL;
}

/* --- life --------------------------------------------------------------------------------------
 */

static int start(struct pg_tcp_gateway *gateway, struct pg_error *error)
{
	struct epoll_event event = { .events = EPOLLIN };
	sigset_t all, before;
	int err;

	gateway->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (gateway->epoll_fd < 0 ||
	    epoll_ctl(gateway->epoll_fd, EPOLL_CTL_ADD, gateway->inbox.wake_fd, &event))
		return pg_error_set(error, -errno, "starting the TCP entrances: %s",
				    strerror(errno));
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&gateway->thread, NULL, loop, gateway);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return pg_error_set(error, -err, "starting the TCP entrances: %s", strerror(err));
	gateway->started = true;
	return 0;
}

int pg_tcp_gateway_open(struct pg_inbox *refusals, struct pg_tcp_gateway **ret_gateway,
			struct pg_error *error)
{
	static const struct pg_view nothing = { .count = 1 };
	struct pg_tcp_gateway *gateway = calloc(1, sizeof(*gateway));
	int err;

	if (!gateway)
		return pg_error_set(error, -ENOMEM, "out of memory");
	gateway->epoll_fd = -1;
	gateway->refusals = refusals;
	gateway->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	gateway->delivery.view = &nothing;
	gateway->now_ms = clock_ms(CLOCK_MONOTONIC);
	/* no handle of an earlier process comes back */
	gateway->serial = clock_ms(CLOCK_REALTIME);
	pg_wheel_init(&gateway->wheel, gateway->now_ms);
	err = pg_inbox_init(&gateway->inbox);
	if (err) {
		close(gateway->spare_fd);
		free(gateway);
		return pg_error_set(error, err, "starting the TCP entrances: %s", strerror(-err));
	}
	err = pg_tcp_sources_new(&gateway->sources);
	err = err ? pg_error_set(error, err, "starting the TCP entrances: %s", strerror(-err))
		  : start(gateway, error);
	if (err) {
		pg_tcp_gateway_close(gateway);
		return err;
	}
	*ret_gateway = gateway;
	return 0;
}

static void post_and_wait(struct pg_tcp_gateway *gateway, struct pg_message *message)
{
	struct pg_waiter waiter;

	if (!message)
		abort();
	pg_waiter_init(&waiter);
	pg_waiter_add(&waiter);
	message->waiter = &waiter;
	pg_inbox_post(&gateway->inbox, message);
	pg_waiter_wait(&waiter);
}

void pg_tcp_gateway_close(struct pg_tcp_gateway *gateway)
{
	if (!gateway)
		return;
	if (gateway->started) {
		post_and_wait(gateway, pg_message_new(PG_MESSAGE_STOP, NULL, 0));
		pthread_join(gateway->thread, NULL);
	}
	pg_delivery_done(&gateway->delivery);
	if (gateway->epoll_fd >= 0)
		close(gateway->epoll_fd);
	if (gateway->spare_fd >= 0)
		close(gateway->spare_fd);
	pg_inbox_done(&gateway->inbox);
	pg_tcp_sources_free(gateway->sources);
	free(gateway->slots);
	free(gateway->unused);
	free(gateway);
}

void pg_tcp_gateway_apply(struct pg_tcp_gateway *gateway, struct pg_tcp_plan *plan)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_ENTRANCES, NULL, 0);

	if (message)
		message->plan = plan;
	post_and_wait(gateway, message);
	pg_tcp_plan_free(plan);
}

void pg_tcp_gateway_set_view(struct pg_tcp_gateway *gateway, const struct pg_view *view)
{
	struct pg_message *message = pg_message_new(PG_MESSAGE_VIEW, NULL, 0);

	if (message)
		message->view = view;
	post_and_wait(gateway, message);
}

struct pg_inbox *pg_tcp_gateway_inbox(struct pg_tcp_gateway *gateway)
{
	return &gateway->inbox;
}

const struct pg_worker_counts *pg_tcp_gateway_counts(const struct pg_tcp_gateway *gateway)
{
	return &gateway->counts;
}

size_t pg_tcp_gateway_status(const struct pg_tcp_gateway *gateway, struct pg_tcp_entrance *rows)
{
	size_t count = 0;

	for (uint32_t i = 0; i < PG_CONFIG_ENTRANCES_MAX; i++)
		if (gateway->entrances[i].used)
			rows[count++] = gateway->entrances[i].status;
	return count;
}
