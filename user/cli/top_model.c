// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "top_model.h"

#define NAME_MAX_BYTES	96
#define VALUE_MAX_BYTES 128
#define LABELS_MAX	8

/* One line of the exposition, taken apart. */
struct line {
	char name[NAME_MAX_BYTES];
	size_t label_count;
	struct {
		char key[32];
		char value[VALUE_MAX_BYTES];
	} labels[LABELS_MAX];
	double value;
};

/* --- reading a line ----------------------------------------------------------------------------
 */

/* Copies a label's value up to its closing quote, which is returned; NULL if there is none. */
static const char *read_value(const char *at, char *out, size_t room)
{
	size_t used = 0;

	for (; *at && *at != '"' && *at != '\n'; at++) {
		char c = *at;

		if (c == '\\' && at[1]) {
			at++;
			c = *at == 'n' ? ' ' : *at;
		}
		if (used + 1 < room)
			out[used++] = c;
	}
	out[used] = 0;
	return *at == '"' ? at : NULL;
}

/* Labels between the braces; returns what follows them, NULL where they are malformed. */
static const char *read_labels(const char *at, struct line *line)
{
	while (*at != '}') {
		size_t length = strcspn(at, "=}\n");
		size_t i = line->label_count;

		if (at[length] != '=' || at[length + 1] != '"' || i == LABELS_MAX ||
		    length >= sizeof(line->labels[i].key))
			return NULL;
		memcpy(line->labels[i].key, at, length);
		line->labels[i].key[length] = 0;
		at = read_value(at + length + 2, line->labels[i].value,
				sizeof(line->labels[i].value));
		if (!at)
			return NULL;
		line->label_count++;
		at += 1 + (at[1] == ',');
	}
	return at + 1;
}

static bool read_line(const char *at, struct line *line)
{
	size_t length = strcspn(at, "{ \n");
	char *end;

	line->label_count = 0;
	if (!length || length >= sizeof(line->name) || *at == '#')
		return false;
	memcpy(line->name, at, length);
	line->name[length] = 0;
	at += length;
	if (*at == '{')
		at = read_labels(at + 1, line);
	if (!at || *at != ' ')
		return false;
	line->value = strtod(at, &end);
	return end != at;
}

static const char *label(const struct line *line, const char *key)
{
	for (size_t i = 0; i < line->label_count; i++)
		if (!strcmp(line->labels[i].key, key))
			return line->labels[i].value;
	return "";
}

static void copy(char *to, size_t room, const char *from)
{
	snprintf(to, room, "%s", from);
	for (; *to; to++)
		if (!isprint((unsigned char)*to))
			*to = '?';
}

#define COPY(to, from) copy(to, sizeof(to), from)

/* --- where a metric goes -----------------------------------------------------------------------
 */

/* Metrics that are added up over all their labels. */
static const struct {
	const char *name;
	size_t offset;
} sums[] = {
#define SUM(metric, member)                                             \
	{                                                               \
		"packgate_" metric, offsetof(struct top_sample, member) \
	}
	SUM("gate_steered_total", steered),
	SUM("gate_passed_total", passed),
	SUM("gate_drops_total", dropped),
	SUM("gate_acks_total", acks),
	SUM("frames_opened_total", opened),
	SUM("messages_delivered_total", delivered),
	SUM("frames_rejected_total", rejected_total),
	SUM("sessions", sessions),
	SUM("tcp_listen_overflows_total", overflows),
	SUM("tcp_listen_drops_total", listen_drops),
	SUM("tcp_syncookies_sent_total", cookies),
	SUM("start_time_seconds", started_s),
#undef SUM
};

/* Metrics that are added up by one label. */
static const struct {
	const char *name, *key;
	size_t offset;
} groups[] = {
#define GROUP(metric, key, member)                                           \
	{                                                                    \
		"packgate_" metric, key, offsetof(struct top_sample, member) \
	}
	GROUP("gate_drops_total", "reason", reasons),
	GROUP("frames_rejected_total", "reason", rejected),
	GROUP("sessions", "state", states),
#undef GROUP
};

static const struct {
	const char *name;
	size_t offset;
} queues[] = {
#define QUEUE(metric, member)                                                 \
	{                                                                     \
		"packgate_tcp_" metric, offsetof(struct top_listener, member) \
	}
	QUEUE("accept_queue_length", accept), QUEUE("accept_queue_limit", accept_limit),
	QUEUE("syn_queue_length", syn),	      QUEUE("syn_queue_young", syn_young),
	QUEUE("syn_queue_limit", syn_limit),
#undef QUEUE
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void add_to_group(struct top_counts *counts, const char *name, double value)
{
	size_t i;

	for (i = 0; i < counts->count; i++)
		if (!strcmp(counts->rows[i].name, name))
			break;
	if (i == TOP_COUNTS_MAX)
		return;
	if (i == counts->count) {
		COPY(counts->rows[i].name, name);
		counts->count++;
	}
	counts->rows[i].value += value;
}

static struct top_interface *interface_of(struct top_sample *sample, const char *name)
{
	size_t i;

	for (i = 0; i < sample->interface_count; i++)
		if (!strcmp(sample->interfaces[i].name, name))
			return &sample->interfaces[i];
	if (i == TOP_INTERFACES_MAX)
		return NULL;
	sample->interface_count++;
	COPY(sample->interfaces[i].name, name);
	return &sample->interfaces[i];
}

static void take_interface(struct top_sample *sample, const struct line *line)
{
	struct top_interface *interface;

	if (strcmp(line->name, "packgate_gate_mode") && strcmp(line->name, "packgate_gate_queues"))
		return;
	interface = interface_of(sample, label(line, "interface"));
	if (!interface)
		return;
	if (!strcmp(line->name, "packgate_gate_queues"))
		interface->queues = (unsigned int)line->value;
	else if (line->value == 1)
		COPY(interface->mode, label(line, "mode"));
}

static bool same_listener(const struct top_listener *row, const struct line *line)
{
	return !strcmp(row->port, label(line, "port")) &&
	       !strcmp(row->address, label(line, "address")) &&
	       !strcmp(row->netns, label(line, "netns"));
}

/* The rows of one family come in the same order as those of another: the last place is tried first.
 */
static struct top_listener *listener_of(struct top_sample *sample, const struct line *line,
					size_t *place)
{
	struct top_listener *row;

	if (*place < sample->listener_count && same_listener(&sample->listeners[*place], line))
		return &sample->listeners[(*place)++];
	for (size_t i = 0; i < sample->listener_count; i++)
		if (same_listener(&sample->listeners[i], line)) {
			*place = i + 1;
			return &sample->listeners[i];
		}
	if (sample->listener_count == TOP_LISTENERS_MAX)
		return NULL;
	row = &sample->listeners[sample->listener_count++];
	*place = sample->listener_count;
	COPY(row->netns, label(line, "netns"));
	COPY(row->address, label(line, "address"));
	COPY(row->port, label(line, "port"));
	return row;
}

static void take_queue(struct top_sample *sample, const struct line *line, size_t places[])
{
	for (size_t i = 0; i < COUNT(queues); i++) {
		struct top_listener *row;

		if (strcmp(line->name, queues[i].name))
			continue;
		row = listener_of(sample, line, &places[i]);
		if (row)
			*(double *)((char *)row + queues[i].offset) = line->value;
		else if (!i)
			sample->listeners_lost++;
		return;
	}
}

static void take_words(struct top_sample *sample, const struct line *line)
{
	if (!strcmp(line->name, "packgate_build_info")) {
		COPY(sample->version, label(line, "version"));
		COPY(sample->instance, label(line, "instance"));
	} else if (!strcmp(line->name, "packgate_limit") &&
		   !strcmp(label(line, "name"), "sessions")) {
		sample->sessions_limit = line->value;
	}
}

static void take_line(struct top_sample *sample, const struct line *line, size_t places[])
{
	for (size_t i = 0; i < COUNT(sums); i++)
		if (!strcmp(line->name, sums[i].name))
			*(double *)((char *)sample + sums[i].offset) += line->value;
	for (size_t i = 0; i < COUNT(groups); i++)
		if (!strcmp(line->name, groups[i].name))
			add_to_group((struct top_counts *)((char *)sample + groups[i].offset),
				     label(line, groups[i].key), line->value);
	take_interface(sample, line);
	take_queue(sample, line, places);
	take_words(sample, line);
}

size_t top_sample_parse(const char *text, struct top_sample *ret_sample)
{
	size_t places[COUNT(queues)] = { 0 }, found = 0;
	const char *end;
	struct line line;

	memset(ret_sample, 0, sizeof(*ret_sample));
	for (; *text; text = *end ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		if (strncmp(text, "packgate_", 9) || !read_line(text, &line))
			continue;
		take_line(ret_sample, &line, places);
		found++;
	}
	return found;
}

/* --- what is made of samples -------------------------------------------------------------------
 */

double top_rate(double now, double before, double seconds)
{
	return now > before && seconds > 0 ? (now - before) / seconds : 0;
}

double top_counts_value(const struct top_counts *counts, const char *name)
{
	for (size_t i = 0; i < counts->count; i++)
		if (!strcmp(counts->rows[i].name, name))
			return counts->rows[i].value;
	return 0;
}

double top_fill(double length, double limit)
{
	return limit > 0 ? length / limit : 0;
}

const char *top_sort_name(enum top_sort sort)
{
	static const char *const names[] = { "accept", "syn", "name" };

	return sort < TOP_SORT_COUNT ? names[sort] : "?";
}

static int by_name(const void *left, const void *right)
{
	const struct top_listener *a = left, *b = right;
	int order = strcmp(a->netns, b->netns);

	if (!order)
		order = atoi(a->port) - atoi(b->port);
	return order ? order : strcmp(a->address, b->address);
}

/* The fuller first, then the longer. */
static int by_fill(double fill_a, double fill_b, double length_a, double length_b)
{
	if (fill_a != fill_b)
		return fill_a < fill_b ? 1 : -1;
	if (length_a != length_b)
		return length_a < length_b ? 1 : -1;
	return 0;
}

static int by_accept(const void *left, const void *right)
{
	const struct top_listener *a = left, *b = right;
	int order = by_fill(top_fill(a->accept, a->accept_limit),
			    top_fill(b->accept, b->accept_limit), a->accept, b->accept);

	return order ? order : by_name(left, right);
}

static int by_syn(const void *left, const void *right)
{
	const struct top_listener *a = left, *b = right;
	int order = by_fill(top_fill(a->syn, a->syn_limit), top_fill(b->syn, b->syn_limit), a->syn,
			    b->syn);

	return order ? order : by_name(left, right);
}

void top_sort_listeners(struct top_sample *sample, enum top_sort sort)
{
	int (*const orders[])(const void *, const void *) = { by_accept, by_syn, by_name };

	if (sort < TOP_SORT_COUNT)
		qsort(sample->listeners, sample->listener_count, sizeof(sample->listeners[0]),
		      orders[sort]);
}
