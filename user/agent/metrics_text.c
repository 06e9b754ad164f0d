// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <inttypes.h>
#include <string.h>

#include "control_words.h"
#include "metrics.h"
#include "metrics_text.h"

#define AGENT_REASONS_FROM 40 /* drop.h: from here on the agent alone decides */

static const unsigned int reasons[] = {
#define PG_X(name, number, ...) number,
	PG_DROPS(PG_X)
#undef PG_X
};

#define REASONS (sizeof(reasons) / sizeof(reasons[0]))

struct family;

struct exposition {
	FILE *file;
	const struct pg_metrics_snapshot *snapshot;
};

/* One metric: what the exposition and docs/metrics.md say of it, and what writes its samples. */
struct family {
	const char *name; /* without packgate_ and _total */
	const char *type;
	const char *unit; /* the end of the name, or "" */
	const char *labels;
	const char *help;
	void (*write)(const struct exposition *e, const struct family *family);
	size_t argument; /* for write: an offset or number */
};

#define COUNTER "counter"
#define GAUGE	"gauge"

/* --- samples -----------------------------------------------------------------------------------
 */

static void write_escaped(FILE *file, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			fputc('\\', file);
		if (*text == '\n')
			fputs("\\n", file);
		else
			fputc(*text, file);
	}
}

struct label {
	const char *name, *value;
};

/* labels end with an empty name. */
static void write_labels(FILE *file, const struct label *labels)
{
	const char *before = "{";

	for (; labels->name; labels++) {
		fprintf(file, "%s%s=\"", before, labels->name);
		write_escaped(file, labels->value);
		fputc('"', file);
		before = ",";
	}
	if (*before == ',')
		fputc('}', file);
}

/* What the name of a sample adds to the name of its family. */
static const char *suffix(const struct family *family)
{
	if (!strcmp(family->type, COUNTER))
		return "_total";
	return !strcmp(family->type, "info") ? "_info" : "";
}

static void write_sample(const struct exposition *e, const struct family *family, uint64_t value,
			 const struct label *labels)
{
	fprintf(e->file, "packgate_%s%s", family->name, suffix(family));
	write_labels(e->file, labels);
	fprintf(e->file, " %" PRIu64 "\n", value);
}

#define SAMPLE(e, family, value, ...) \
	write_sample(e, family, value, (const struct label[]){ __VA_ARGS__{ .name = NULL } })
#define LABEL(label_name, label_value) { .name = (label_name), .value = (label_value) },

static const char *number_text(char text[16], unsigned int number)
{
	snprintf(text, 16, "%u", number);
	return text;
}

/* --- the agent ---------------------------------------------------------------------------------
 */

static void write_build(const struct exposition *e, const struct family *family)
{
	const struct pg_agent_status *status = &e->snapshot->status;
	char abi[16];

	SAMPLE(e, family, 1,
	       LABEL("version", status->version) LABEL("abi", number_text(abi, PG_ABI))
		       LABEL("aead_backend", status->aead_backend ? status->aead_backend : "")
			       LABEL("instance", status->instance));
}

static void write_started(const struct exposition *e, const struct family *family)
{
	fprintf(e->file, "packgate_%s %.3f\n", family->name,
		(double)e->snapshot->status.started_ms / 1000);
}

static void write_workers_alive(const struct exposition *e, const struct family *family)
{
	SAMPLE(e, family, e->snapshot->status.workers_alive, );
}

static void write_limits(const struct exposition *e, const struct family *family)
{
	struct pg_limit limit;
	size_t i;

	for (i = 0; pg_config_limit(&e->snapshot->limits, i, &limit); i++)
		SAMPLE(e, family, limit.value, LABEL("name", limit.name));
}

static void write_sessions(const struct exposition *e, const struct family *family)
{
	size_t i;
	unsigned int state;

	for (i = 0; i < e->snapshot->session_count; i++) {
		const struct pg_session_count *row = &e->snapshot->sessions[i];

		for (state = PG_SESSION_INIT; state <= PG_SESSION_CLOSE; state++)
			SAMPLE(e, family, row->by_state[state],
			       LABEL("endpoint", row->endpoint)
				       LABEL("state", pg_session_state_word(state)));
	}
}

static void write_streams(const struct exposition *e, const struct family *family)
{
	SAMPLE(e, family, e->snapshot->status.streams, );
}

static void write_start_sessions(const struct exposition *e, const struct family *family)
{
	const struct pg_agent_status *status = &e->snapshot->status;

	SAMPLE(e, family, status->adopted, LABEL("fate", "adopted"));
	SAMPLE(e, family, status->restored, LABEL("fate", "restored"));
	SAMPLE(e, family, status->removed, LABEL("fate", "removed"));
}

static void write_worker(const struct exposition *e, const struct family *family)
{
	uint64_t value;

	memcpy(&value, (const char *)&e->snapshot->workers + family->argument, sizeof(value));
	SAMPLE(e, family, value, );
}

static bool agent_always_shows(unsigned int reason)
{
	return reason >= AGENT_REASONS_FROM ||
	       (reason >= PG_DROP_REPLAY_SEEN && reason <= PG_DROP_NOT_MONOTONIC);
}

static void write_rejected(const struct exposition *e, const struct family *family)
{
	const uint64_t *rejected = e->snapshot->workers.rejected;
	size_t i;

	for (i = 0; i < REASONS; i++)
		if (agent_always_shows(reasons[i]) || rejected[reasons[i]])
			SAMPLE(e, family, rejected[reasons[i]],
			       LABEL("reason", pg_drop_word(reasons[i])));
}

static void write_malformed(const struct exposition *e, const struct family *family)
{
	const uint64_t *counts = e->snapshot->workers.malformed;

	for (int i = 1; i < PG_MALFORMED_SLOTS; i++)
		if (pg_message_malformed_label(i))
			SAMPLE(e, family, counts[i],
			       LABEL("reason", pg_message_malformed_label(i)));
}

static void write_misfits(const struct exposition *e, const struct family *family)
{
#define PG_X(name, number, label, help) \
	SAMPLE(e, family, e->snapshot->workers.misfits[number], LABEL("reason", label));
	PG_MISFITS(PG_X)
#undef PG_X
}

static void write_latency(const struct exposition *e, const struct family *family)
{
	const struct pg_worker_counts *workers = &e->snapshot->workers;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < PG_LATENCY_BUCKETS; i++) {
		sum += workers->latency_buckets[i];
		fprintf(e->file, "packgate_%s_bucket{le=\"", family->name);
		if (i == PG_LATENCY_BUCKETS - 1)
			fputs("+Inf", e->file);
		else
			fprintf(e->file, "%g", (double)(1u << i) / 1e6);
		fprintf(e->file, "\"} %" PRIu64 "\n", sum);
	}
	fprintf(e->file, "packgate_%s_count %" PRIu64 "\n", family->name, sum);
	fprintf(e->file, "packgate_%s_sum %.9f\n", family->name,
		(double)workers->latency_sum_ns / 1e9);
}

/* --- the gate ----------------------------------------------------------------------------------
 */

#define FOR_EACH_INTERFACE(e, row)                                                           \
	for (const struct pg_interface_status *row = (e)->snapshot->status.interfaces;       \
	     row < (e)->snapshot->status.interfaces + (e)->snapshot->status.interface_count; \
	     row++)

static void write_modes(const struct exposition *e, const struct family *family)
{
	unsigned int mode;

	FOR_EACH_INTERFACE(e, row)
	for (mode = 0; mode < PG_GATE_MODE_COUNT; mode++)
		SAMPLE(e, family, row->mode == mode,
		       LABEL("interface", row->name) LABEL("mode", pg_gate_mode_name(mode)));
}

static void write_queues(const struct exposition *e, const struct family *family)
{
	FOR_EACH_INTERFACE(e, row)
	SAMPLE(e, family, row->queues, LABEL("interface", row->name));
}

/* argument of the families below: which table, and packets or bytes */
enum {
	DROPS_PACKETS,
	DROPS_BYTES,
	WOULD_PACKETS,
	WOULD_BYTES,
};

static void write_drops(const struct exposition *e, const struct family *family)
{
	bool would = family->argument >= WOULD_PACKETS;
	bool bytes = family->argument & 1;
	size_t i;

	FOR_EACH_INTERFACE(e, row)
	{
		const struct pg_count *counts = would ? e->snapshot->gate.would_drop[row->slot]
						      : e->snapshot->gate.drops[row->slot];

		for (i = 0; i < REASONS; i++) {
			const struct pg_count *count = &counts[reasons[i]];

			if (reasons[i] < AGENT_REASONS_FROM)
				SAMPLE(e, family, bytes ? count->bytes : count->packets,
				       LABEL("interface", row->name)
					       LABEL("reason", pg_drop_word(reasons[i])));
		}
	}
}

static void write_steered(const struct exposition *e, const struct family *family)
{
	char text[16];
	uint32_t i;

	FOR_EACH_INTERFACE(e, row)
	for (i = 0; i < row->queues && i < PG_QUEUES_MAX; i++) {
		const struct pg_count *count = &e->snapshot->gate.steered[row->slot][i];

		SAMPLE(e, family, family->argument ? count->bytes : count->packets,
		       LABEL("interface", row->name) LABEL("queue", number_text(text, i)));
	}
}

static void write_gate_counter(const struct exposition *e, const struct family *family)
{
	FOR_EACH_INTERFACE(e, row)
	SAMPLE(e, family, e->snapshot->gate.counters[row->slot][family->argument].packets,
	       LABEL("interface", row->name));
}

static void write_xsk(const struct exposition *e, const struct family *family)
{
	char text[16];
	size_t i;

	for (i = 0; i < e->snapshot->xsk_count; i++) {
		const struct pg_xsk_status *row = &e->snapshot->xsk[i];
		uint64_t value;

		memcpy(&value, (const char *)row + family->argument, sizeof(value));
		SAMPLE(e, family, value,
		       LABEL("interface", row->interface)
			       LABEL("queue", number_text(text, row->queue)));
	}
}

/* --- TCP ---------------------------------------------------------------------------------------
 */

/* Series come in the order of their namespaces. */
static const char *namespace_of(const struct pg_listeners_sample *tcp,
				const struct pg_listener_series *row, size_t *at)
{
	while (*at < tcp->namespace_count && tcp->namespaces[*at].netns.inode != row->netns)
		++*at;
	return *at < tcp->namespace_count ? tcp->namespaces[*at].netns.name : "";
}

/* How many series are shown if no namespace shows more than quota. */
static size_t series_within(const struct pg_listeners_sample *tcp, size_t quota)
{
	size_t i, in_namespace = 0, shown = 0;

	for (i = 0; i < tcp->series_count; i++) {
		if (!i || tcp->series[i].netns != tcp->series[i - 1].netns)
			in_namespace = 0;
		shown += in_namespace++ < quota;
	}
	return shown;
}

/* The largest share of a namespace that keeps all within the bound: none crowds others out. */
static size_t series_quota(const struct pg_listeners_sample *tcp)
{
	size_t low = 0, high = PG_METRICS_LISTENERS_MAX, middle;

	if (tcp->series_count <= PG_METRICS_LISTENERS_MAX)
		return PG_METRICS_LISTENERS_MAX;
	while (low < high) {
		middle = (low + high + 1) / 2;
		if (series_within(tcp, middle) <= PG_METRICS_LISTENERS_MAX)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static uint64_t listener_value(const struct pg_listener_series *row, const struct family *family)
{
	const char *field = (const char *)row + family->argument;
	uint64_t counter;
	uint32_t gauge;

	if (!strcmp(family->type, COUNTER)) {
		memcpy(&counter, field, sizeof(counter));
		return counter;
	}
	memcpy(&gauge, field, sizeof(gauge));
	return gauge;
}

static void write_listener(const struct exposition *e, const struct family *family)
{
	const struct pg_listeners_sample *tcp = &e->snapshot->tcp;
	bool fastopen = strstr(family->name, "fastopen");
	size_t i, at = 0, in_namespace = 0, quota = series_quota(tcp);
	char address[PG_ADDRESS_TEXT], port[16];

	for (i = 0; i < tcp->series_count; i++) {
		const struct pg_listener_series *row = &tcp->series[i];

		if (!i || row->netns != tcp->series[i - 1].netns)
			in_namespace = 0;
		if (in_namespace++ >= quota || (fastopen && !row->fastopen_limit))
			continue;
		SAMPLE(e, family, listener_value(row, family),
		       LABEL("netns", namespace_of(tcp, row, &at))
			       LABEL("address", pg_address_print(&row->address, address))
				       LABEL("port", number_text(port, row->port)));
	}
}

/* argument: offset of the number, of 8 bytes */
static void write_entrance(const struct exposition *e, const struct family *family)
{
	uint64_t value;

	for (size_t i = 0; i < e->snapshot->entrance_count; i++) {
		const struct pg_tcp_entrance *row = &e->snapshot->entrances[i];

		memcpy(&value, (const char *)row + family->argument, sizeof(value));
		SAMPLE(e, family, value, LABEL("entrance", row->name));
	}
}

static void write_connections(const struct exposition *e, const struct family *family)
{
	for (size_t i = 0; i < e->snapshot->entrance_count; i++) {
		const struct pg_tcp_entrance *row = &e->snapshot->entrances[i];

		SAMPLE(e, family, family->argument ? row->max_connections : row->connections,
		       LABEL("entrance", row->name));
	}
}

static void write_per_source(const struct exposition *e, const struct family *family)
{
	for (size_t i = 0; i < e->snapshot->entrance_count; i++)
		SAMPLE(e, family, e->snapshot->entrances[i].max_per_source,
		       LABEL("entrance", e->snapshot->entrances[i].name));
}

static void write_tcp_refused(const struct exposition *e, const struct family *family)
{
	for (size_t i = 0; i < e->snapshot->entrance_count; i++) {
		const struct pg_tcp_entrance *row = &e->snapshot->entrances[i];

#define PG_X(name_, number, label, help)        \
	SAMPLE(e, family, row->refused[number], \
	       LABEL("entrance", row->name) LABEL("reason", label));
		PG_TCP_REFUSALS(PG_X)
#undef PG_X
	}
}

static void write_tcp_closed(const struct exposition *e, const struct family *family)
{
	for (size_t i = 0; i < e->snapshot->entrance_count; i++) {
		const struct pg_tcp_entrance *row = &e->snapshot->entrances[i];

#define PG_X(name_, number, label, help) \
	SAMPLE(e, family, row->closed[number], LABEL("entrance", row->name) LABEL("reason", label));
		PG_TCP_CLOSES(PG_X)
#undef PG_X
	}
}

static void write_tcp_malformed(const struct exposition *e, const struct family *family)
{
	for (size_t i = 0; i < e->snapshot->entrance_count; i++) {
		const struct pg_tcp_entrance *row = &e->snapshot->entrances[i];

#define PG_X(name_, number, label, help)          \
	SAMPLE(e, family, row->malformed[number], \
	       LABEL("entrance", row->name) LABEL("reason", label));
		PG_MESSAGE_MALFORMED(PG_X)
#undef PG_X
	}
}

#define FOR_EACH_NAMESPACE(e, row)                                                            \
	for (const struct pg_netns_sample *row = (e)->snapshot->tcp.namespaces;               \
	     row < (e)->snapshot->tcp.namespaces + (e)->snapshot->tcp.namespace_count; row++) \
		if (!row->why[0])

static void write_netstat(const struct exposition *e, const struct family *family)
{
	FOR_EACH_NAMESPACE(e, row)
	if (pg_netstat_has(&row->netstat, family->argument))
		SAMPLE(e, family, row->netstat.values[family->argument],
		       LABEL("netns", row->netns.name));
}

static void write_sockets(const struct exposition *e, const struct family *family)
{
	unsigned int state;

	FOR_EACH_NAMESPACE(e, row)
	for (state = 0; state < PG_SOCKETS_STATES; state++)
		SAMPLE(e, family, pg_listeners_sockets(row, state),
		       LABEL("netns", row->netns.name)
			       LABEL("state", pg_listeners_sockets_word(state)));
}

static void write_sysctl(const struct exposition *e, const struct family *family)
{
	int64_t value;

	FOR_EACH_NAMESPACE(e, row)
	{
		memcpy(&value, (const char *)&row->sysctls + family->argument, sizeof(value));
		if (value >= 0)
			SAMPLE(e, family, (uint64_t)value, LABEL("netns", row->netns.name));
	}
}

static void write_netns(const struct exposition *e, const struct family *family)
{
	char inode[24];

	FOR_EACH_NAMESPACE(e, row)
	{
		snprintf(inode, sizeof(inode), "%" PRIu64, row->netns.inode);
		SAMPLE(e, family, 1,
		       LABEL("netns", row->netns.name) LABEL("inode", inode)
			       LABEL("container", row->netns.container));
	}
}

static void write_source(const struct exposition *e, const struct family *family)
{
	unsigned int source;

	for (source = 0; source < PG_LISTENERS_SOURCE_COUNT; source++)
		SAMPLE(e, family, e->snapshot->tcp.source == source,
		       LABEL("source", pg_listeners_source_word(source)));
}

static void write_unreadable(const struct exposition *e, const struct family *family)
{
	const struct pg_listeners_sample *tcp = &e->snapshot->tcp;
	uint64_t count = 0;
	size_t i;

	for (i = 0; i < tcp->namespace_count; i++)
		count += tcp->namespaces[i].why[0] != '\0';
	SAMPLE(e, family, count, );
}

/* argument of the family below */
enum {
	CUT_NAMESPACES,
	CUT_LISTENERS,
	CUT_REQUESTS,
	CUT_SERIES,
	CUT_MARKS,
};

static void write_cut(const struct exposition *e, const struct family *family)
{
	const struct pg_listeners_sample *tcp = &e->snapshot->tcp;
	const uint64_t values[] = {
		[CUT_NAMESPACES] = tcp->namespaces_cut,
		[CUT_LISTENERS] = tcp->rows_cut,
		[CUT_REQUESTS] = tcp->requests_cut,
		[CUT_SERIES] = tcp->series_count - series_within(tcp, series_quota(tcp)),
		[CUT_MARKS] = tcp->unmarked,
	};

	SAMPLE(e, family, values[family->argument], );
}

/* --- the shield --------------------------------------------------------------------------------
 */

#define FOR_EACH_SHIELD(e, row)                                                                 \
	for (const struct pg_shield_status *row =                                               \
		     (e)->snapshot->shield ? (e)->snapshot->shield->shields : NULL;             \
	     row && row < (e)->snapshot->shield->shields + (e)->snapshot->shield->shield_count; \
	     row++)

static const char *shield_address(const struct pg_shield_status *row, char text[PG_ADDRESS_TEXT])
{
	return row->listener.any ? "*" : pg_address_print(&row->listener.address, text);
}

static void write_shield_modes(const struct exposition *e, const struct family *family)
{
	char address[PG_ADDRESS_TEXT], port[16];

	FOR_EACH_SHIELD(e, row)
	for (unsigned int mode = PG_SHIELD_OFF; mode <= PG_SHIELD_AUTO; mode++)
		SAMPLE(e, family, row->listener.mode == mode,
		       LABEL("address", shield_address(row, address))
			       LABEL("port", number_text(port, row->listener.port))
				       LABEL("mode", pg_shield_mode_name(mode)));
}

static void write_shield_active(const struct exposition *e, const struct family *family)
{
	char address[PG_ADDRESS_TEXT], port[16];

	FOR_EACH_SHIELD(e, row)
	SAMPLE(e, family, row->active,
	       LABEL("address", shield_address(row, address))
		       LABEL("port", number_text(port, row->listener.port)));
}

static void write_shield_counter(const struct exposition *e, const struct family *family)
{
	char address[PG_ADDRESS_TEXT], port[16];
	uint64_t value;

	FOR_EACH_SHIELD(e, row)
	{
		memcpy(&value, (const char *)row + family->argument, sizeof(value));
		SAMPLE(e, family, value,
		       LABEL("address", shield_address(row, address))
			       LABEL("port", number_text(port, row->listener.port)));
	}
}

static void write_shield_switches(const struct exposition *e, const struct family *family)
{
	char address[PG_ADDRESS_TEXT], port[16];

	FOR_EACH_SHIELD(e, row)
	for (int on = 0; on < 2; on++)
		SAMPLE(e, family, on ? row->switched_on : row->switched_off,
		       LABEL("address", shield_address(row, address))
			       LABEL("port", number_text(port, row->listener.port))
				       LABEL("to", on ? "on" : "off"));
}

static void write_shield_ways(const struct exposition *e, const struct family *family)
{
	const struct pg_shield_report *report = e->snapshot->shield;

	for (size_t i = 0; report && i < report->interface_count; i++)
		for (unsigned int way = PG_SHIELD_WAY_NONE; way <= PG_SHIELD_WAY_KERNEL; way++)
			SAMPLE(e, family, report->interfaces[i].way == way,
			       LABEL("interface", report->interfaces[i].name)
				       LABEL("way", pg_shield_way_word(way)));
}

/* --- the list ----------------------------------------------------------------------------------
 */

#define LISTENER(name, type, field, help)                                          \
	{                                                                          \
		"tcp_" name, type, "", "netns,address,port", help, write_listener, \
			offsetof(struct pg_listener_series, field)                 \
	}
#define SYSCTL(name, field, help)                                    \
	{                                                            \
		"tcp_" name, GAUGE, "", "netns", help, write_sysctl, \
			offsetof(struct pg_netstat_sysctls, field)   \
	}
#define ENTRANCE(field, help)                                                          \
	{                                                                              \
		"tcp_entrance_" #field, COUNTER, "", "entrance", help, write_entrance, \
			offsetof(struct pg_tcp_entrance, field)                        \
	}
#define XSK(field, help)                                                        \
	{                                                                       \
		"xsk_" #field, COUNTER, "", "interface,queue", help, write_xsk, \
			offsetof(struct pg_xsk_status, field)                   \
	}

static const struct family families[] = {
	{ "build", "info", "", "version,abi,aead_backend,instance", "what runs", write_build, 0 },
	{ "start_time_seconds", GAUGE, "seconds", "", "when the agent started, Unix time",
	  write_started, 0 },
	{ "workers_alive", GAUGE, "", "", "1 if every worker turned its loop within 2 s",
	  write_workers_alive, 0 },
	{ "limit", GAUGE, "", "name", "bounds that the configuration sets", write_limits, 0 },
	{ "gate_mode", GAUGE, "", "interface,mode", "1 for the mode in use", write_modes, 0 },
	{ "gate_queues", GAUGE, "", "interface", "RX queues with a worker", write_queues, 0 },
	{ "gate_drops", COUNTER, "", "interface,reason", "frames the gate dropped", write_drops,
	  DROPS_PACKETS },
	{ "gate_drop_bytes", COUNTER, "bytes", "interface,reason",
	  "bytes of the frames the gate dropped", write_drops, DROPS_BYTES },
	{ "gate_would_drop", COUNTER, "", "interface,reason",
	  "frames passed to the kernel that enforce: drop would drop", write_drops, WOULD_PACKETS },
	{ "gate_would_drop_bytes", COUNTER, "bytes", "interface,reason", "bytes of these frames",
	  write_drops, WOULD_BYTES },
	{ "gate_steered", COUNTER, "", "interface,queue", "frames steered to the agent",
	  write_steered, 0 },
	{ "gate_steered_bytes", COUNTER, "bytes", "interface,queue",
	  "bytes of the frames steered to the agent", write_steered, 1 },
#define PG_X(name, number, label, help) \
	{ "gate_" label, COUNTER, "", "interface", help, write_gate_counter, number },
	PG_COUNTERS(PG_X)
#undef PG_X
		{ "sessions", GAUGE, "", "endpoint,state", "sessions that exist", write_sessions,
		  0 },
	{ "streams", GAUGE, "", "", "streams that exist", write_streams, 0 },
	{ "start_sessions", GAUGE, "", "fate",
	  "sessions at the last start: adopted from pinned memory, restored from the store, "
	  "removed",
	  write_start_sessions, 0 },
#define PG_X(field, suffix, help) \
	{ suffix, COUNTER, "", "", help, write_worker, offsetof(struct pg_worker_counts, field) },
	PG_WORKER_COUNTERS(PG_X)
#undef PG_X
		{ "frames_rejected", COUNTER, "", "reason", "frames the agent refused",
		  write_rejected, 0 },
	{ "sessions_misfit", COUNTER, "", "reason",
	  "sessions ended because their endpoint was removed or changed", write_misfits, 0 },
	{ "messages_malformed", COUNTER, "", "reason",
	  "packets of sessions that were refused because they are not whole messages",
	  write_malformed, 0 },
	{ "delivery_latency_seconds", "histogram", "seconds", "le",
	  "time from receiving a frame to handing its message over", write_latency, 0 },
	XSK(rx_dropped, "frames the kernel dropped on the socket"),
	XSK(rx_invalid_descs, "invalid receive descriptors"),
	XSK(tx_invalid_descs, "invalid transmit descriptors"),
	XSK(rx_ring_full, "frames that found the receive ring full"),
	XSK(rx_fill_ring_empty_descs, "times the fill ring was found empty"),
	XSK(tx_ring_empty_descs, "times the transmit ring was found empty"),
	{ "tcp_entrance_connections", GAUGE, "", "entrance", "connections of a TCP entrance",
	  write_connections, 0 },
	{ "tcp_entrance_connections_limit", GAUGE, "", "entrance",
	  "connections that the entrance may have", write_connections, 1 },
	{ "tcp_entrance_connections_per_source_limit", GAUGE, "", "entrance",
	  "connections that one IPv4 address or IPv6 /64 may have", write_per_source, 0 },
	ENTRANCE(accepted, "connections accepted"),
	{ "tcp_entrance_refused", COUNTER, "", "entrance,reason",
	  "connections refused when they came", write_tcp_refused, 0 },
	ENTRANCE(stalls, "times a message had to wait for its application"),
	{ "tcp_entrance_closed", COUNTER, "", "entrance,reason", "connections that ended",
	  write_tcp_closed, 0 },
	{ "tcp_entrance_malformed", COUNTER, "", "entrance,reason",
	  "connections closed because their bytes are not messages", write_tcp_malformed, 0 },
	LISTENER("accept_queue_length", GAUGE, accept_length, "connections that wait for accept"),
	LISTENER("accept_queue_limit", GAUGE, accept_limit, "room of the accept queue"),
	LISTENER("accept_queue_high", GAUGE, accept_high,
		 "most connections seen waiting since the last scrape"),
	LISTENER("syn_queue_length", GAUGE, syn_length, "connection requests in the SYN queue"),
	LISTENER("syn_queue_young", GAUGE, syn_young, "requests whose SYN-ACK was sent only once"),
	LISTENER("syn_queue_limit", GAUGE, syn_limit, "room of the SYN queue"),
	LISTENER("syn_queue_high", GAUGE, syn_high, "most requests seen since the last scrape"),
	LISTENER("fastopen_queue_length", GAUGE, fastopen_length,
		 "TCP Fast Open requests; only of listeners that take them"),
	LISTENER("fastopen_queue_limit", GAUGE, fastopen_limit, "room for TCP Fast Open requests"),
	LISTENER("listener_sockets", GAUGE, sockets,
		 "sockets behind the series: above 1, a reuseport group whose numbers are sums"),
	LISTENER("listener_drops", COUNTER, drops,
		 "SYNs and final ACKs this listener dropped: the victim of overflows"),
	LISTENER("listener_synack_retransmits", COUNTER, synack_retransmits,
		 "SYN-ACKs of this listener sent again"),
	{ "shield_mode", GAUGE, "", "address,port,mode", "1 for the mode that was set",
	  write_shield_modes, 0 },
	{ "shield_active", GAUGE, "", "address,port", "1 while SYNs are answered by cookies",
	  write_shield_active, 0 },
	{ "shield_switches", COUNTER, "", "address,port,to",
	  "times an automatic shield went on or off", write_shield_switches, 0 },
	{ "shield_way", GAUGE, "", "interface,way", "1 for whose cookies are used",
	  write_shield_ways, 0 },
#define PG_X(field, metric, help) \
	{ "shield_" metric,       \
	  COUNTER,                \
	  "",                     \
	  "address,port",         \
	  help,                   \
	  write_shield_counter,   \
	  offsetof(struct pg_shield_status, field) },
	PG_SHIELD_COUNTERS(PG_X)
#undef PG_X
#define PG_X(field, table, kernel, metric, help) \
	{ "tcp_" #field, COUNTER, "", "netns", help, write_netstat, PG_NETSTAT_##field },
		PG_NETSTAT(PG_X)
#undef PG_X
			{ "tcp_sockets", GAUGE, "", "netns,state", "TCP sockets by state",
			  write_sockets, 0 },
	SYSCTL("somaxconn", somaxconn, "net.core.somaxconn: no backlog is larger"),
	SYSCTL("max_syn_backlog", tcp_max_syn_backlog, "net.ipv4.tcp_max_syn_backlog"),
	SYSCTL("syncookies", tcp_syncookies, "net.ipv4.tcp_syncookies"),
	{ "tcp_netns", "info", "", "netns,inode,container", "network namespaces that are read",
	  write_netns, 0 },
	{ "tcp_netns_unreadable", GAUGE, "", "",
	  "network namespaces that could not be entered or read", write_unreadable, 0 },
	{ "tcp_netns_cut", GAUGE, "", "", "network namespaces left away, beyond 1024", write_cut,
	  CUT_NAMESPACES },
	{ "tcp_listeners_cut", GAUGE, "", "",
	  "listeners left away, beyond 8192 in a namespace or 131072 in all", write_cut,
	  CUT_LISTENERS },
	{ "tcp_requests_cut", GAUGE, "", "",
	  "requests in SYN queues not counted, beyond 131072 in a namespace; inet_diag alone",
	  write_cut, CUT_REQUESTS },
	{ "tcp_series_cut", GAUGE, "", "", "listeners left away here, beyond 4096 series",
	  write_cut, CUT_SERIES },
	{ "tcp_listeners_unmarked", COUNTER, "", "",
	  "listeners not watched because the kernel had no memory for it", write_cut, CUT_MARKS },
	{ "tcp_source", GAUGE, "", "source", "1 for what listeners are read through", write_source,
	  0 },
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

enum pg_metrics_format pg_metrics_format(const char *accept)
{
	return strstr(accept, "text/plain") && !strstr(accept, "openmetrics")
		       ? PG_METRICS_TEXT
		       : PG_METRICS_OPENMETRICS;
}

/* In text a family is named as its samples are, and knows neither infos nor units. */
static void write_head(FILE *file, const struct family *family, enum pg_metrics_format format)
{
	const char *end = format == PG_METRICS_TEXT ? suffix(family) : "";
	const char *type = family->type;

	if (format == PG_METRICS_TEXT && !strcmp(type, "info"))
		type = GAUGE;
	fprintf(file, "# TYPE packgate_%s%s %s\n", family->name, end, type);
	if (*family->unit && format == PG_METRICS_OPENMETRICS)
		fprintf(file, "# UNIT packgate_%s %s\n", family->name, family->unit);
	fprintf(file, "# HELP packgate_%s%s ", family->name, end);
	write_escaped(file, family->help);
	fputc('\n', file);
}

void pg_metrics_expose(const struct pg_metrics_snapshot *snapshot, enum pg_metrics_format format,
		       FILE *file)
{
	struct exposition e = { file, snapshot };
	const struct family *family;

	for (family = families; family < families + FAMILIES; family++) {
		write_head(file, family, format);
		family->write(&e, family);
	}
	if (format == PG_METRICS_OPENMETRICS)
		fputs("# EOF\n", file);
}

/* --- docs/metrics.md ---------------------------------------------------------------------------
 */

static void write_refusals(FILE *file)
{
	fputs("\n## Reasons of `packgate_tcp_entrance_refused_total`\n\n"
	      "| reason | meaning |\n|---|---|\n",
	      file);
#define PG_X(name, number, label, help) fprintf(file, "| `%s` | %s |\n", label, help);
	PG_TCP_REFUSALS(PG_X)
#undef PG_X
}

static void write_closes(FILE *file)
{
	fputs("\n## Reasons of `packgate_tcp_entrance_closed_total`\n\n"
	      "| reason | meaning |\n|---|---|\n",
	      file);
#define PG_X(name, number, label, help) fprintf(file, "| `%s` | %s |\n", label, help);
	PG_TCP_CLOSES(PG_X)
#undef PG_X
}

static void write_misfit_reasons(FILE *file)
{
	fputs("\n## Reasons of `packgate_sessions_misfit_total`\n\n"
	      "| reason | meaning |\n|---|---|\n",
	      file);
#define PG_X(name, number, label, help) fprintf(file, "| `%s` | %s |\n", label, help);
	PG_MISFITS(PG_X)
#undef PG_X
}

static void write_malformed_reasons(FILE *file)
{
	fputs("\n## Reasons of `packgate_messages_malformed_total` and "
	      "`packgate_tcp_entrance_malformed_total`\n\n"
	      "| reason | meaning |\n|---|---|\n",
	      file);
#define PG_X(name, number, label, help) fprintf(file, "| `%s` | %s |\n", label, help);
	PG_MESSAGE_MALFORMED(PG_X)
#undef PG_X
}

static void write_reasons(FILE *file, bool agent)
{
	fputs("\n| reason | meaning |\n|---|---|\n", file);
#define PG_X(name, number, label, help)              \
	if ((number >= AGENT_REASONS_FROM) == agent) \
		fprintf(file, "| `%s` | %s |\n", label, help);
	PG_DROPS(PG_X)
#undef PG_X
}

static void write_words(FILE *file)
{
	struct pg_limits limits = { 0 };
	struct pg_limit limit;
	size_t i;

	fputs("\n## Modes\n\nLabel `mode` of `packgate_gate_mode`.\n\n| mode | meaning "
	      "|\n|---|---|\n",
	      file);
#define PG_X(name, label, help) fprintf(file, "| `%s` | %s |\n", label, help);
	PG_GATE_MODES(PG_X)
#undef PG_X
	fputs("\n## Cookies\n\nLabel `way` of `packgate_shield_way`; label `address` of the "
	      "`packgate_shield_` metrics is `*` for every local\naddress of both families.\n\n"
	      "| way | meaning |\n|---|---|\n",
	      file);
#define PG_X(name, number, label, help) fprintf(file, "| `%s` | %s |\n", label, help);
	PG_SHIELD_WAYS(PG_X)
#undef PG_X
	fputs("\n## Limits\n\nLabel `name` of `packgate_limit`: the keys under `limits:`.\n\n"
	      "| name | unit | meaning |\n|---|---|---|\n",
	      file);
	for (i = 0; pg_config_limit(&limits, i, &limit); i++)
		fprintf(file, "| `%s` | %s | %s |\n", limit.name, limit.unit, limit.help);
}

static void write_tcp_words(FILE *file)
{
	fputs("\n## TCP sources\n\nLabel `source` of `packgate_tcp_source`.\n\n| source | "
	      "meaning |\n|---|---|\n",
	      file);
#define PG_X(name, word, help) fprintf(file, "| `%s` | %s |\n", word, help);
	PG_LISTENERS_SOURCES(PG_X)
#undef PG_X
	fputs("\n## TCP states\n\nLabel `state` of `packgate_tcp_sockets`.\n\n| state | meaning "
	      "|\n|---|---|\n",
	      file);
#define PG_X(state, help) fprintf(file, "| `%s` | %s |\n", #state, help);
	PG_LISTENERS_SOCKETS(PG_X)
#undef PG_X
}

void pg_metrics_write_doc(FILE *file)
{
	const struct family *family;

	fputs("# Metrics\n\n"
	      "Generated by `packgated --print-metrics-doc`; `make docs` writes it anew.\n\n"
	      "The agent serves OpenMetrics 1.0 at `http://127.0.0.1:9747/metrics` (configuration "
	      "`metrics: { listen: ... }`)\nand on the control socket at `/v1/metrics`. A scrape "
	      "reads maps and listeners at that moment.\n`/healthz` answers 200, or 503 with the "
	      "reasons. No metric has a label per session. Who\naccepts `text/plain` and not "
	      "OpenMetrics gets Prometheus' older text format: `curl -H 'Accept: text/plain' "
	      ".../metrics "
	      "|\npromtool check metrics`.\n\n"
	      "| metric | type | labels | meaning |\n|---|---|---|---|\n",
	      file);
	for (family = families; family < families + FAMILIES; family++)
		fprintf(file, "| `packgate_%s%s` | %s | %s | %s |\n", family->name, suffix(family),
			family->type, family->labels, family->help);
	fputs("\n## Reasons of the gate\n\nLabel `reason` of `packgate_gate_drops_total`, "
	      "`packgate_gate_would_drop_total` and their bytes; each is there at 0 too.\n",
	      file);
	write_reasons(file, false);
	fputs("\n## Reasons of the agent\n\nFurther values of the label `reason` of "
	      "`packgate_frames_rejected_total`; the agent may give those of the gate as well.\n",
	      file);
	write_reasons(file, true);
	write_misfit_reasons(file);
	write_malformed_reasons(file);
	write_refusals(file);
	write_closes(file);
	write_words(file);
	write_tcp_words(file);
}
