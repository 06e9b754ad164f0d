// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "diag.h"
#include "listeners.h"
#include "log.h"

#define LIST_AGE_MS   5000 /* of the list of namespaces a scrape may use */
#define HIDDEN_AGE_MS 1000 /* likewise, when a listener's namespace is not in it */
#define RAISE_EACH_MS 200  /* high-water marks: what is shorter may be missed */

struct pg_listeners {
	pthread_mutex_t lock; /* one reading at a time */
	enum pg_listeners_source source;
	char source_why[320];
	size_t rows_max;
	bool cut_said; /* in the log, that a reading leaves something away */
	struct pg_tcpq *tcpq;
	struct pg_listener_totals *totals;

	struct pg_netns *list;
	size_t list_count, list_cut;
	bool list_is_own; /* nothing but the own namespace was looked for */
	uint64_t listed_ms;
	uint64_t *seeded; /* inodes of namespaces whose older listeners are marked; sorted */
	size_t seeded_count;

	pthread_t raiser;
	bool raising, stop;
	pthread_mutex_t stop_lock;
	pthread_cond_t stop_asked;
};

const char *pg_listeners_source_word(enum pg_listeners_source source)
{
	static const char *const words[] = {
#define PG_X(name, word, help) word,
		PG_LISTENERS_SOURCES(PG_X)
#undef PG_X
	};

	return words[source];
}

const char *pg_listeners_sockets_word(enum pg_listeners_sockets state)
{
	static const char *const words[] = {
#define PG_X(name, help) #name,
		PG_LISTENERS_SOCKETS(PG_X)
#undef PG_X
	};

	return words[state];
}

uint64_t pg_listeners_sockets(const struct pg_netns_sample *namespace,
			      enum pg_listeners_sockets state)
{
	uint64_t listen = namespace->count + namespace->cut;
	uint64_t known = listen + namespace->sockets.established;

	switch (state) {
	case PG_SOCKETS_listen:
		return listen;
	case PG_SOCKETS_syn_received:
		return namespace->syn_received;
	case PG_SOCKETS_established:
		return namespace->sockets.established;
	case PG_SOCKETS_time_wait:
		return namespace->sockets.time_wait;
	default:
		/* the numbers are not read at one moment */
		return namespace->sockets.in_use > known ? namespace->sockets.in_use - known : 0;
	}
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

void pg_listeners_sample_done(struct pg_listeners_sample *sample)
{
	free(sample->namespaces);
	free(sample->rows);
	free(sample->series);
	memset(sample, 0, sizeof(*sample));
}

/* --- start and end -----------------------------------------------------------------------------
 */

static struct timespec in_a_while(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += RAISE_EACH_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return until;
}

static void *raise_marks(void *context)
{
	struct pg_listeners *listeners = context;
	struct timespec until;

	pthread_mutex_lock(&listeners->stop_lock);
	while (!listeners->stop) {
		until = in_a_while();
		pthread_cond_timedwait(&listeners->stop_asked, &listeners->stop_lock, &until);
		if (!listeners->stop)
			pg_tcpq_raise(listeners->tcpq);
	}
	pthread_mutex_unlock(&listeners->stop_lock);
	return NULL;
}

static void choose_source(struct pg_listeners *listeners)
{
	struct pg_error why = { "" };

	if (pg_tcpq_open(&listeners->tcpq, &why))
		listeners->source = PG_LISTENERS_DIAG;
	else if (!pg_tcpq_tracks(listeners->tcpq)) {
		listeners->source = PG_LISTENERS_ITERATOR;
		pg_error_set(&why, 0, "%s", pg_tcpq_untracked_why(listeners->tcpq));
	}
	if (listeners->source == PG_LISTENERS_TRACKED)
		return;
	snprintf(listeners->source_why, sizeof(listeners->source_why), "%s", why.text);
	pg_warning_log("TCP listeners are read through %s: %s",
		       pg_listeners_source_word(listeners->source), why.text);
}

static int start_raiser(struct pg_listeners *listeners)
{
	pthread_condattr_t monotonic;
	int err;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&listeners->stop_asked, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (listeners->source != PG_LISTENERS_TRACKED)
		return 0;
	err = pthread_create(&listeners->raiser, NULL, raise_marks, listeners);
	listeners->raising = !err;
	return -err;
}

int pg_listeners_open(size_t rows_max, struct pg_listeners **ret_listeners, struct pg_error *error)
{
	struct pg_listeners *listeners = calloc(1, sizeof(*listeners));
	int err;

	if (!listeners)
		return pg_error_set(error, -ENOMEM, "watch the TCP listeners: out of memory");
	listeners->rows_max = rows_max;
	pthread_mutex_init(&listeners->lock, NULL);
	pthread_mutex_init(&listeners->stop_lock, NULL);
	err = pg_listener_totals_new(&listeners->totals);
	choose_source(listeners);
	if (!err)
		err = start_raiser(listeners);
	if (err) {
		pg_listeners_close(listeners);
		return pg_error_set(error, err, "watch the TCP listeners: %s", strerror(-err));
	}
	*ret_listeners = listeners;
	return 0;
}

void pg_listeners_close(struct pg_listeners *listeners)
{
	if (!listeners)
		return;
	if (listeners->raising) {
		pthread_mutex_lock(&listeners->stop_lock);
		listeners->stop = true;
		pthread_cond_signal(&listeners->stop_asked);
		pthread_mutex_unlock(&listeners->stop_lock);
		pthread_join(listeners->raiser, NULL);
	}
	pg_tcpq_free(listeners->tcpq);
	pg_listener_totals_free(listeners->totals);
	free(listeners->list);
	free(listeners->seeded);
	free(listeners);
}

/* --- which namespaces --------------------------------------------------------------------------
 */

static int list_own(struct pg_netns **ret_rows, size_t *ret_n, size_t *ret_cut,
		    struct pg_error *error)
{
	PG_FREE struct pg_netns *row = calloc(1, sizeof(*row));
	int err;

	if (!row)
		return pg_error_set(error, -ENOMEM, "naming the network namespace: out of memory");
	err = pg_netns_own(row, error);
	if (err)
		return err;
	*ret_rows = TAKE_PTR(row);
	*ret_n = 1;
	*ret_cut = 0;
	return 0;
}

static int list_anew(struct pg_listeners *listeners, bool own, struct pg_error *error)
{
	struct pg_netns *list;
	size_t n, cut;
	int err = own ? list_own(&list, &n, &cut, error) : pg_netns_list(&list, &n, &cut, error);

	if (err)
		return err;
	free(listeners->list);
	listeners->list = list;
	listeners->list_count = n;
	listeners->list_cut = cut;
	listeners->list_is_own = own;
	listeners->listed_ms = now_ms();
	return 0;
}

static bool is_watched(const struct pg_netns *netns, const struct pg_tcp_config *config)
{
	size_t i;

	if (config->namespaces == PG_NAMESPACES_ALL)
		return true;
	if (config->namespaces == PG_NAMESPACES_OWN)
		return netns->own;
	for (i = 0; i < config->name_count; i++)
		if (pg_netns_is(netns, config->names[i]))
			return true;
	return false;
}

static bool is_asked_for(const struct pg_netns *netns, const char *which)
{
	if (!which || !strcmp(which, "all"))
		return true;
	return !strcmp(which, "own") ? netns->own : pg_netns_is(netns, which);
}

/* A question that the configuration answers with no, whatever namespaces there are. */
static int check_question(const struct pg_tcp_config *config, const char *which,
			  struct pg_error *error)
{
	if (!which || config->namespaces == PG_NAMESPACES_ALL)
		return 0;
	if (!strcmp(which, "all") && config->namespaces == PG_NAMESPACES_OWN)
		return pg_error_set(error, -EINVAL,
				    "namespace all: the configuration watches the agent's own "
				    "network namespace only; set tcp: { namespaces: [all] }");
	return 0;
}

static int select_namespaces(const struct pg_listeners *listeners,
			     const struct pg_tcp_config *config, const char *which,
			     struct pg_listeners_sample *sample, struct pg_error *error)
{
	size_t i;

	sample->namespaces = calloc(listeners->list_count, sizeof(*sample->namespaces));
	if (!sample->namespaces)
		return pg_error_set(error, -ENOMEM, "read the TCP listeners: out of memory");
	for (i = 0; i < listeners->list_count; i++) {
		const struct pg_netns *netns = &listeners->list[i];

		if (is_asked_for(netns, which) && is_watched(netns, config))
			sample->namespaces[sample->namespace_count++].netns = *netns;
	}
	sample->namespaces_cut = listeners->list_cut;
	return 0;
}

/* Why a question for one namespace has no answer. */
static int explain_nothing(const struct pg_listeners *listeners, const struct pg_tcp_config *config,
			   const char *which, struct pg_error *error)
{
	bool exists = config->namespaces == PG_NAMESPACES_OWN;
	size_t i;

	for (i = 0; i < listeners->list_count; i++)
		exists |= is_asked_for(&listeners->list[i], which) &&
			  !is_watched(&listeners->list[i], config);
	if (exists)
		return pg_error_set(error, -EINVAL,
				    "namespace %.64s: the configuration does not watch it; add it "
				    "to tcp.namespaces",
				    which);
	return pg_error_set(error, -ENOENT,
			    "namespace %.64s: there is none with this name, inode or container id",
			    which);
}

/* --- going to each -----------------------------------------------------------------------------
 */

/* What a visit reads: rows only where they are not read all at once. */
struct visit {
	struct pg_listeners *listeners;
	struct pg_listeners_sample *sample;
	bool *gone;
	size_t room; /* of sample->rows */
	bool states;
	int err;
};

static int compare_inodes(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static bool is_seeded(const struct pg_listeners *listeners, uint64_t inode)
{
	return listeners->seeded && bsearch(&inode, listeners->seeded, listeners->seeded_count,
					    sizeof(inode), compare_inodes);
}

/* Returns how many found no place. */
static size_t append_rows(struct visit *visit, const struct pg_tcpq_listener *rows, size_t n)
{
	struct pg_listeners_sample *sample = visit->sample;
	size_t room = visit->room ? visit->room : 256, cut = 0;
	struct pg_tcpq_listener *larger;

	if (n > visit->listeners->rows_max - sample->row_count) {
		cut = n - (visit->listeners->rows_max - sample->row_count);
		n -= cut;
	}
	if (!n)
		return cut;
	while (room < sample->row_count + n)
		room *= 2;
	larger = realloc(sample->rows, room * sizeof(*rows));
	if (!larger) {
		visit->err = -ENOMEM;
		return cut;
	}
	sample->rows = larger;
	visit->room = room;
	memcpy(sample->rows + sample->row_count, rows, n * sizeof(*rows));
	sample->row_count += n;
	return cut;
}

static int read_by_bpf(struct pg_tcpq *tcpq, struct pg_tcpq_listener **ret_rows, size_t *ret_n,
		       struct pg_diag_cut *ret_cut, struct pg_error *error)
{
	uint64_t before = pg_tcpq_cut(tcpq);
	int err = pg_tcpq_read(tcpq, ret_rows, ret_n, error);

	ret_cut->listeners = pg_tcpq_cut(tcpq) - before;
	return err;
}

static int read_here(struct visit *visit, struct pg_netns_sample *namespace, struct pg_error *error)
{
	PG_FREE struct pg_tcpq_listener *rows = NULL;
	struct pg_listeners *listeners = visit->listeners;
	uint64_t inode = namespace->netns.inode;
	struct pg_diag_cut cut = { 0 };
	size_t n = 0;
	int err;

	if (listeners->source == PG_LISTENERS_TRACKED && is_seeded(listeners, inode))
		return 0;
	if (listeners->source == PG_LISTENERS_DIAG)
		err = pg_diag_read(inode, listeners->rows_max, &rows, &n, &cut, error);
	else
		err = read_by_bpf(listeners->tcpq, &rows, &n, &cut, error);
	/* tracked ones are read all at once when everything is seeded */
	if (err || listeners->source == PG_LISTENERS_TRACKED)
		return err;
	namespace->cut = cut.listeners + append_rows(visit, rows, n);
	visit->sample->rows_cut += namespace->cut;
	visit->sample->requests_cut += cut.requests;
	return 0;
}

/* Failing is no reason to show nothing. */
static void count_states(const struct visit *visit, struct pg_netns_sample *namespace)
{
	const struct pg_netstat_sockets *sockets = &namespace->sockets;

	if (visit->states && visit->listeners->source == PG_LISTENERS_TRACKED &&
	    sockets->in_use + sockets->time_wait <= PG_LISTENERS_WALK_MAX)
	namespace->counted = !pg_tcpq_states(visit->listeners->tcpq, namespace->states);
}

static void visit_one(size_t index, int err, void *context)
{
	struct visit *visit = context;
	struct pg_netns_sample *namespace = &visit->sample->namespaces[index];
	struct pg_error error = { "" };

	visit->gone[index] = err == -ENOENT;
	if (err) {
		snprintf(namespace->why, sizeof(namespace->why), "it cannot be entered: %s%s",
			 strerror(-err), err == -EPERM ? "; it needs CAP_SYS_ADMIN" : "");
		return;
	}
	err = pg_netstat_read(&namespace->netstat, &namespace->sockets, &error);
	if (!err)
		err = pg_netstat_sysctls(&namespace->sysctls, &error);
	if (!err)
		err = read_here(visit, namespace, &error);
	if (!err)
		count_states(visit, namespace);
	else
		snprintf(namespace->why, sizeof(namespace->why), "%.*s",
			 (int)sizeof(namespace->why) - 1, error.text);
}

/* A namespace that vanished is none of the reading. */
static void leave_out_gone(struct pg_listeners_sample *sample, const bool *gone)
{
	size_t i, kept = 0;

	for (i = 0; i < sample->namespace_count; i++)
		if (!gone[i])
			sample->namespaces[kept++] = sample->namespaces[i];
	sample->namespace_count = kept;
}

/* From now on listeners of these namespaces are marked, the old ones and those to come. */
static void note_seeded(struct pg_listeners *listeners, const struct pg_listeners_sample *sample)
{
	uint64_t *seeded = calloc(PG_NETNS_MAX + sample->namespace_count, sizeof(*seeded));
	size_t i, n = 0;

	if (!seeded)
		return;
	/* those that are gone make room: their inode may come back */
	for (i = 0; i < listeners->list_count; i++)
		if (is_seeded(listeners, listeners->list[i].inode))
			seeded[n++] = listeners->list[i].inode;
	for (i = 0; i < sample->namespace_count; i++)
		if (!sample->namespaces[i].why[0] &&
		    !is_seeded(listeners, sample->namespaces[i].netns.inode))
			seeded[n++] = sample->namespaces[i].netns.inode;
	qsort(seeded, n, sizeof(*seeded), compare_inodes);
	free(listeners->seeded);
	listeners->seeded = seeded;
	listeners->seeded_count = n;
}

static int visit_all(struct pg_listeners *listeners, bool states,
		     struct pg_listeners_sample *sample, struct pg_error *error)
{
	struct visit visit = { .listeners = listeners, .sample = sample, .states = states };
	PG_FREE struct pg_netns *rows = calloc(sample->namespace_count + 1, sizeof(*rows));
	PG_FREE bool *gone = calloc(sample->namespace_count + 1, sizeof(*gone));
	size_t i;
	int err;

	if (!rows || !gone)
		return pg_error_set(error, -ENOMEM, "read the TCP listeners: out of memory");
	for (i = 0; i < sample->namespace_count; i++)
		rows[i] = sample->namespaces[i].netns;
	visit.gone = gone;
	err = pg_netns_visit(rows, sample->namespace_count, visit_one, &visit);
	if (!err)
		err = visit.err;
	if (err)
		return pg_error_set(error, err, "read the TCP listeners: %s", strerror(-err));
	leave_out_gone(sample, gone);
	if (listeners->source == PG_LISTENERS_TRACKED)
		note_seeded(listeners, sample);
	return 0;
}

/* --- rows to their namespaces ------------------------------------------------------------------
 */

struct by_inode {
	uint64_t inode;
	size_t index;
};

static struct pg_netns_sample *namespace_of(struct pg_listeners_sample *sample,
					    const struct by_inode *order, uint64_t inode)
{
	const struct by_inode *found;

	if (!sample->namespace_count)
		return NULL;
	found = bsearch(&inode, order, sample->namespace_count, sizeof(*order), compare_inodes);
	return found ? &sample->namespaces[found->index] : NULL;
}

static struct by_inode *order_by_inode(const struct pg_listeners_sample *sample)
{
	struct by_inode *order = calloc(sample->namespace_count + 1, sizeof(*order));
	size_t i;

	for (i = 0; order && i < sample->namespace_count; i++)
		order[i] = (struct by_inode){ sample->namespaces[i].netns.inode, i };
	if (order)
		qsort(order, sample->namespace_count, sizeof(*order), compare_inodes);
	return order;
}

/* The rows come ordered by namespace inode; they leave in the order of the namespaces. */
static int sort_in(struct pg_listeners_sample *sample)
{
	PG_FREE struct by_inode *order = order_by_inode(sample);
	struct pg_tcpq_listener *sorted = calloc(sample->row_count + 1, sizeof(*sorted));
	struct pg_netns_sample *namespace;
	size_t i, at = 0;

	if (!order || !sorted) {
		free(sorted);
		return -ENOMEM;
	}
	for (i = 0; i < sample->row_count; i++) {
		namespace = namespace_of(sample, order, sample->rows[i].netns);
		if (namespace && namespace->count++ == 0)
		namespace->first = i;
	}
	for (i = 0; i < sample->namespace_count; i++) {
		namespace = &sample->namespaces[i];
		if (namespace->count > PG_LISTENERS_PER_NETNS) {
			size_t cut = namespace->count - PG_LISTENERS_PER_NETNS;

			namespace->cut += cut;
			namespace->count = PG_LISTENERS_PER_NETNS;
			sample->rows_cut += cut;
		}
		if (namespace->count)
			memcpy(&sorted[at], &sample->rows[namespace->first],
			       namespace->count * sizeof(*sorted));
		namespace->first = at;
		at += namespace->count;
	}
	free(sample->rows);
	sample->rows = sorted;
	sample->row_count = at;
	return 0;
}

static void sum_requests(struct pg_listeners_sample *sample)
{
	size_t i, j;

	for (i = 0; i < sample->namespace_count; i++) {
		struct pg_netns_sample *namespace = &sample->namespaces[i];

		for (j = 0; j < namespace->count; j++)
		namespace->syn_received += sample->rows[namespace->first + j].syn_length;
	}
}

static bool is_listed(const struct pg_listeners *listeners, uint64_t inode)
{
	size_t i;

	for (i = 0; i < listeners->list_count; i++)
		if (listeners->list[i].inode == inode)
			return true;
	return false;
}

static void describe_hidden(struct pg_netns_sample *namespace, uint64_t inode)
{
	memset(namespace, 0, sizeof(*namespace));
	namespace->netns.inode = inode;
	snprintf(namespace->netns.name, sizeof(namespace->netns.name), "net:[%" PRIu64 "]", inode);
	snprintf(namespace->why, sizeof(namespace->why), "no name and no process leads there");
}

/* Listeners tell of namespaces that nothing else shows. They stand behind the others. */
static int add_hidden(const struct pg_listeners *listeners, const char *which,
		      struct pg_listeners_sample *sample)
{
	struct pg_netns_sample *larger, hidden;
	uint64_t last = 0;
	size_t i;

	for (i = 0; i < sample->row_count; i++) {
		if (sample->rows[i].netns == last)
			continue;
		last = sample->rows[i].netns;
		describe_hidden(&hidden, last);
		if (is_listed(listeners, last) || !is_asked_for(&hidden.netns, which))
			continue;
		if (sample->namespace_count == PG_NETNS_MAX) {
			sample->namespaces_cut++;
			continue;
		}
		larger = realloc(sample->namespaces,
				 (sample->namespace_count + 1) * sizeof(*larger));
		if (!larger)
			return -ENOMEM;
		sample->namespaces = larger;
		sample->namespaces[sample->namespace_count++] = hidden;
	}
	return 0;
}

/* --- a reading ---------------------------------------------------------------------------------
 */

static bool knows_all(const struct pg_listeners *listeners,
		      const struct pg_listeners_sample *sample)
{
	uint64_t last = 0;
	size_t i;

	for (i = 0; i < sample->row_count; i++) {
		if (sample->rows[i].netns != last && !is_listed(listeners, sample->rows[i].netns))
			return false;
		last = sample->rows[i].netns;
	}
	return true;
}

static int read_tracked(struct pg_listeners *listeners, struct pg_listeners_sample *sample,
			struct pg_error *error)
{
	uint64_t cut = pg_tcpq_cut(listeners->tcpq);
	int err = pg_tcpq_read_all(listeners->tcpq, &sample->rows, &sample->row_count, error);

	sample->rows_cut += pg_tcpq_cut(listeners->tcpq) - cut;
	sample->unmarked = pg_tcpq_unmarked(listeners->tcpq);
	return err;
}

static int read_once(struct pg_listeners *listeners, const struct pg_tcp_config *config,
		     const char *which, bool states, bool *ret_unknown,
		     struct pg_listeners_sample *sample, struct pg_error *error)
{
	int err = select_namespaces(listeners, config, which, sample, error);

	sample->source = listeners->source;
	strcpy(sample->source_why, listeners->source_why);
	if (!err)
		err = visit_all(listeners, states, sample, error);
	if (!err && listeners->source == PG_LISTENERS_TRACKED)
		err = read_tracked(listeners, sample, error);
	if (err)
		return err;
	*ret_unknown =
		!listeners->list_is_own && !listeners->list_cut && !knows_all(listeners, sample);
	if (config->namespaces == PG_NAMESPACES_ALL && !listeners->list_cut)
		err = add_hidden(listeners, which, sample);
	if (!err && which && strcmp(which, "all") && !sample->namespace_count)
		return explain_nothing(listeners, config, which, error);
	if (!err)
		err = sort_in(sample);
	if (err)
		return pg_error_set(error, err, "read the TCP listeners: out of memory");
	sum_requests(sample);
	return 0;
}

static int read_locked(struct pg_listeners *listeners, const struct pg_tcp_config *config,
		       const char *which, bool person, struct pg_listeners_sample *sample,
		       struct pg_error *error)
{
	bool own = config->namespaces == PG_NAMESPACES_OWN, unknown = false;
	int err = check_question(config, which, error);

	if (!err && (person || !listeners->list || own != listeners->list_is_own ||
		     now_ms() - listeners->listed_ms > LIST_AGE_MS))
		err = list_anew(listeners, own, error);
	if (!err)
		err = read_once(listeners, config, which, person, &unknown, sample, error);
	if (err || !unknown || now_ms() - listeners->listed_ms < HIDDEN_AGE_MS)
		return err;
	pg_listeners_sample_done(sample);
	err = list_anew(listeners, own, error);
	return err ? err : read_once(listeners, config, which, person, &unknown, sample, error);
}

/* Once, until a reading of everything is whole again. */
static void say_cut(struct pg_listeners *listeners, const struct pg_listeners_sample *sample)
{
	bool cut = sample->rows_cut || sample->requests_cut;

	if (cut && !listeners->cut_said)
		pg_warning_log("TCP listeners: %" PRIu64 " are left away and %" PRIu64
			       " requests in SYN queues not counted: a namespace shows %d "
			       "listeners, a reading %zu",
			       sample->rows_cut, sample->requests_cut, PG_LISTENERS_PER_NETNS,
			       listeners->rows_max);
	listeners->cut_said = cut;
}

int pg_listeners_read(struct pg_listeners *listeners, const struct pg_tcp_config *config,
		      const char *which, struct pg_listeners_sample *ret_sample,
		      struct pg_error *error)
{
	struct pg_listeners_sample sample = { 0 };
	int err;

	pthread_mutex_lock(&listeners->lock);
	err = read_locked(listeners, config, which, true, &sample, error);
	if (!err && !which)
		say_cut(listeners, &sample);
	pthread_mutex_unlock(&listeners->lock);
	if (err)
		pg_listeners_sample_done(&sample);
	else
		*ret_sample = sample;
	return err;
}

int pg_listeners_scrape(struct pg_listeners *listeners, const struct pg_tcp_config *config,
			bool reset, struct pg_listeners_sample *ret_sample, struct pg_error *error)
{
	struct pg_listeners_sample sample = { 0 };
	int err;

	pthread_mutex_lock(&listeners->lock);
	err = read_locked(listeners, config, NULL, false, &sample, error);
	if (!err)
		say_cut(listeners, &sample);
	if (!err && reset && listeners->source == PG_LISTENERS_TRACKED)
		pg_tcpq_reset(listeners->tcpq);
	if (!err && pg_listener_totals_update(listeners->totals, sample.rows, sample.row_count,
					      &sample.series, &sample.series_count))
		err = pg_error_set(error, -ENOMEM, "read the TCP listeners: out of memory");
	pthread_mutex_unlock(&listeners->lock);
	if (err)
		pg_listeners_sample_done(&sample);
	else
		*ret_sample = sample;
	return err;
}
