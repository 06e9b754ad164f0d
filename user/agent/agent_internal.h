/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_AGENT_INTERNAL_H
#define PG_AGENT_INTERNAL_H

#include <pthread.h>

#include "agent.h"
#include "app_server.h"
#include "gate.h"
#include "listeners.h"
#include "locals.h"
#include "session_table.h"
#include "store.h"
#include "tcp_gateway.h"
#include "view.h"
#include "worker.h"

/* Shared by the files of the agent's control side; the lock guards everything that changes. */

struct interface {
	char name[PG_NAME_MAX];
	enum pg_gate_mode mode;
	char why[PG_INTERFACE_WHY];
	struct pg_gate *gate;
	uint32_t queues;
	uint32_t first_worker;	/* its queues' workers follow one another */
	uint32_t workers;	/* planned at the start; queues is never more */
	uint32_t ifindex;	/* when it was last tried to attach, 0 = there was none */
	bool wanted;		/* attach again when the interface comes back */
	bool renamed;		/* its gate went with it, which was said */
	uint64_t nameless_ms;	/* monotonic: its gate's interface has no name since then, or 0 */
	uint64_t confirm_by_ms; /* monotonic, 0 = confirmed */
	int shield_link;	/* of the program at TC ingress, -1 = none */
	char shield_why[160];	/* why its cookies are not the gate's own */
};

struct endpoint {
	bool used;
	uint32_t id;
	int socket;
	struct pg_endpoint_config config;
	const struct pg_app_connection *apps[PG_APP_PLACES]; /* by the socket they came to */
};

/* Whether the gate demands cookies, and since when. */
struct pg_cookie_watch {
	uint64_t renewed_ms; /* monotonic; the epoch began */
	uint64_t looked_ms;  /* monotonic; shakehands were counted */
	uint64_t quiet_ms;   /* monotonic; last moment with a reason for cookies */
	bool due;	     /* as the log was told */
	uint64_t shakehands; /* of the gate, then */
};

struct pg_agent {
	pthread_mutex_t lock;
	char config_path[PG_CONFIG_PATH_MAX];
	struct pg_config *config;
	pthread_rwlock_t config_lock;
	struct pg_engine_options engine_options;
	struct pg_maps *maps;
	struct pg_session_table *table;
	struct pg_store *store;
	struct pg_locals *locals;
	struct pg_app_server *apps;
	struct pg_inbox refusals; /* of applications' records, on their way to apps */
	struct pg_tcp_gateway *tcp;
	struct pg_app_config routes; /* in force since the start */
	uint32_t message_bytes;
	uint32_t half_open_most;	   /* what handshake servers have room for, 0 = none */
	char restart_needed[PG_KEYS_TEXT]; /* keys of the file that are not in force */
	struct interface interfaces[PG_INTERFACES_MAX];
	uint32_t interface_count;
	struct endpoint endpoints[PG_ENDPOINTS_MAX];
	struct pg_view *view;
	struct pg_handshake_view *handshake; /* of the view; NULL = none */
	__u64 handshake_seed[2];	     /* of every view; secret */
	struct pg_cookie_watch cookies;
	struct pg_worker *workers[PG_WORKERS_MAX];
	uint32_t worker_count;
	uint64_t started_ms, adopted, restored, removed;
	uint64_t misfits_restored;	   /* handed to the workers, to be ended */
	uint64_t misfits[PG_MISFIT_SLOTS]; /* that no worker ever had */
	uint32_t confirm_seconds;
	bool windows_taken; /* the store has them no more */
	bool serving;	    /* the workers have taken over every session */
	bool settled;	    /* the start did not fail: what is pinned stays */
	struct pg_followers *followers;
	struct pg_listeners *listeners;
	struct pg_shield_guard *shield;
};

static inline void pg_agent_lock(struct pg_agent *agent)
{
	pthread_mutex_lock(&agent->lock);
}

static inline void pg_agent_unlock(struct pg_agent *agent)
{
	pthread_mutex_unlock(&agent->lock);
}

uint64_t pg_agent_now_ms(void); /* monotonic */
uint64_t pg_agent_unix_ms(void);

/* --- agent_endpoints.c: all with the lock held -------------------------------------------------
 */

/* Makes the endpoints those of the configuration: sockets, map entries, the view. */
int pg_endpoints_apply(struct pg_agent *agent, const struct pg_config *config,
		       struct pg_reload_result *result, struct pg_error *error);
void pg_endpoints_clean(struct pg_agent *agent);
int pg_agent_publish_view(struct pg_agent *agent);
/* Index of the endpoint with this name, 0 = none. */
uint32_t pg_endpoint_find(const struct pg_agent *agent, const char *name);
uint32_t pg_endpoint_find_id(const struct pg_agent *agent, uint32_t id);
void pg_endpoints_close(struct pg_agent *agent);
/* handlers for the application socket */
void pg_endpoints_handlers(struct pg_agent *agent, struct pg_app_handlers *ret_handlers);

/* --- agent_interfaces.c ------------------------------------------------------------------------
 */

/* Fills interfaces[] from the configuration and counts the workers they need. */
int pg_interfaces_plan(struct pg_agent *agent, struct pg_error *error);
/*
 * The mode ladder for one interface; lock held. With confirm_seconds its gate is undone unless it
 * is confirmed by then, and when this process ends.
 */
int pg_interface_attach(struct pg_agent *agent, struct interface *interface,
			uint32_t confirm_seconds, struct pg_error *error);
void pg_interface_detach(struct pg_agent *agent, struct interface *interface, const char *why);
/* Removes pins of interfaces that are gone or no longer configured, and says so. */
void pg_interfaces_clean(struct pg_agent *agent);
void pg_interfaces_close(struct pg_agent *agent);
/*
 * Undoes unconfirmed attaches whose time is up; notices interfaces that went, were renamed or came
 * back, and attaches to those that did.
 */
void pg_interfaces_tick(struct pg_agent *agent);

/* --- agent_sessions.c --------------------------------------------------------------------------
 */

/* Takes over what is pinned and stored; before the workers start. */
int pg_sessions_restore(struct pg_agent *agent, struct pg_error *error);
/* When the workers have taken over what was restored: ends what does not fit its endpoint. */
void pg_sessions_restored(struct pg_agent *agent);
/* Saves every session's window at a clean stop; after the workers stopped. */
void pg_sessions_save(struct pg_agent *agent);
/* A start that failed before it took the windows leaves them to the next one. */
void pg_sessions_leave(struct pg_agent *agent);
/*
 * Posts a message to the worker that owns the session's slot, in order with those before it though
 * the session may move. -ENOENT: nobody owns it; -EAGAIN as pg_inbox_post. On failure the message
 * is the caller's.
 */
int pg_agent_post_session(struct pg_agent *agent, uint32_t slot, struct pg_message *message);

/* --- agent_endings.c ---------------------------------------------------------------------------
 */

/*
 * Ends, with goaway, the sessions of an endpoint, or with 0 those that do not fit theirs as the
 * workers' view has it; says how many and why. -ENOMEM: none was.
 */
int pg_sessions_end(struct pg_agent *agent, uint32_t endpoint, enum pg_misfit why);

/* --- agent_cookie.c ----------------------------------------------------------------------------
 */

/* Secrets for this process: pinned ones stay good for their time. -EIO without random bytes. */
int pg_cookies_start(struct pg_agent *agent);
/* Once a second: begins epochs, and decides whether the gate demands cookies; lock held. */
void pg_cookies_tick(struct pg_agent *agent);

/* --- agent_events.c ----------------------------------------------------------------------------
 */

int pg_followers_open(struct pg_agent *agent, struct pg_error *error);
void pg_followers_close(struct pg_agent *agent);

/* --- agent_shield.c: with the lock held, but open and close ------------------------------------
 */

/* Takes over the shields that are pinned, applies the configuration's, starts the thread. */
int pg_shield_open(struct pg_agent *agent, struct pg_error *error);
void pg_shield_close(struct pg_agent *agent);
/* Makes the configuration's shields those of config. */
void pg_shield_apply(struct pg_agent *agent, const struct pg_config *config);
/* After an interface was attached: chooses whose cookies it uses, and says so. */
void pg_shield_interface(struct pg_agent *agent, struct interface *interface);
/* Before an interface is detached. */
void pg_shield_leave(struct pg_agent *agent, struct interface *interface);

/* --- agent.c -----------------------------------------------------------------------------------
 */

struct pg_agent_options {
	const char *config_path;
	uint32_t confirm_seconds; /* of what is attached at the start, 0 = confirmed */
};

int pg_agent_open(const struct pg_agent_options *options, struct pg_agent **ret_agent,
		  struct pg_error *error);
/* Attaches the configured interfaces, once everything else is known to work. */
void pg_agent_attach_all(struct pg_agent *agent);
/* Clean stop: sessions saved, pins and programs left. */
void pg_agent_close(struct pg_agent *agent);
/* Local addresses to watch; call pg_agent_locals_changed when readable. */
int pg_agent_locals_fd(struct pg_agent *agent);
void pg_agent_locals_changed(struct pg_agent *agent);
/* Once a second. */
void pg_agent_tick(struct pg_agent *agent);

#endif
