// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "top_screen.h"

#define HIGH	    0.8
#define FULL	    1.0
#define REASONS	    6  /* the most frequent drops */
#define FIXED_ROWS  18 /* all but reasons and listeners */
#define LABEL_WIDTH 22
#define RATE_WIDTH  10

/* What is drawn on, and where the next line goes. */
struct pen {
	struct top_screen *screen;
	unsigned int row;
};

int top_screen_init(struct top_screen *screen, unsigned int rows, unsigned int columns)
{
	*screen = (struct top_screen){ 0 };
	screen->cells = malloc((size_t)rows * columns + 1);
	screen->styles = malloc((size_t)rows * columns + 1);
	if (!screen->cells || !screen->styles) {
		top_screen_done(screen);
		return -ENOMEM;
	}
	screen->rows = rows;
	screen->columns = columns;
	return 0;
}

void top_screen_done(struct top_screen *screen)
{
	free(screen->cells);
	free(screen->styles);
	*screen = (struct top_screen){ 0 };
}

/* --- cells -------------------------------------------------------------------------------------
 */

/* Writes a text, cut at the edge; returns the column behind it. */
static unsigned int put(struct pen *pen, unsigned int column, enum top_style style,
			const char *format, ...) __attribute__((format(printf, 4, 5)));

static unsigned int put(struct pen *pen, unsigned int column, enum top_style style,
			const char *format, ...)
{
	struct top_screen *screen = pen->screen;
	char text[512];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	if (pen->row >= screen->rows)
		return column;
	for (const char *c = text; *c && column < screen->columns; c++, column++) {
		size_t at = (size_t)pen->row * screen->columns + column;

		screen->cells[at] = *c;
		screen->styles[at] = (unsigned char)style;
	}
	return column;
}

static enum top_style fill_style(double fill)
{
	return fill >= FULL ? TOP_FULL : fill >= HIGH ? TOP_HIGH : TOP_GOOD;
}

/* "[#####.....]" of so many columns. */
static unsigned int put_bar(struct pen *pen, unsigned int column, unsigned int width, double fill)
{
	unsigned int inner = width > 2 ? width - 2 : 0;
	unsigned int marked = fill >= 1 ? inner : (unsigned int)lround(fill * inner);

	if (!marked && fill > 0)
		marked = inner ? 1 : 0;
	column = put(pen, column, TOP_PLAIN, "[");
	for (unsigned int i = 0; i < inner; i++)
		column = put(pen, column, i < marked ? fill_style(fill) : TOP_PLAIN, "%c",
			     i < marked ? '#' : '.');
	return put(pen, column, TOP_PLAIN, "]");
}

/* 0, 12, 999, 1.2k, 34.5M */
static const char *number(double value, char text[16])
{
	static const char units[] = " kMGTP";
	size_t unit = 0;

	while (value >= 999.5 && unit < sizeof(units) - 2) {
		value /= 1000;
		unit++;
	}
	if (!unit)
		snprintf(text, 16, value < 10 && value != floor(value) ? "%.1f" : "%.0f", value);
	else
		snprintf(text, 16, value < 99.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
	return text;
}

/* --- blocks ------------------------------------------------------------------------------------
 */

static void draw_title(struct pen *pen, const struct top_view *view, const struct top_sample *now)
{
	long up = now->started_s > 0 ? (long)(view->now_s - now->started_s) : 0;
	char right[64];
	unsigned int column;

	if (up < 0)
		up = 0;
	put(pen, 0, TOP_HEADING, "packgate %s  instance %s  up %ldd %02ld:%02ld:%02ld",
	    now->version, now->instance, up / 86400, up / 3600 % 24, up / 60 % 60, up % 60);
	snprintf(right, sizeof(right), "%s, every %u s", view->paused ? "PAUSED" : "running",
		 view->interval_s);
	column = pen->screen->columns;
	column -= strlen(right) < column ? (unsigned int)strlen(right) : column;
	put(pen, column, TOP_HEADING, "%s", right);
	pen->row++;
}

static void draw_interfaces(struct pen *pen, const struct top_sample *now)
{
	unsigned int column = 0;

	for (size_t i = 0; i < now->interface_count; i++) {
		const struct top_interface *row = &now->interfaces[i];
		bool detached = !strcmp(row->mode, "detached");

		column = put(pen, column, detached ? TOP_ALERT : TOP_PLAIN, "%s%s %s, %u queue%s",
			     i ? "   " : "", row->name, row->mode, row->queues,
			     row->queues == 1 ? "" : "s");
	}
	if (!now->interface_count)
		put(pen, 0, TOP_ALERT, "no interface is configured");
	pen->row++;
}

static void draw_counter(struct pen *pen, const char *name, double now, double before,
			 double seconds, double most)
{
	double rate = top_rate(now, before, seconds);
	unsigned int width = pen->screen->columns > 60 ? pen->screen->columns - 48 : 12;
	char rate_text[16], total_text[16];

	put(pen, 0, TOP_PLAIN, "%-*.*s %*s/s %*s", LABEL_WIDTH, LABEL_WIDTH, name, RATE_WIDTH,
	    number(rate, rate_text), RATE_WIDTH, number(now, total_text));
	if (most > 0)
		put_bar(pen, LABEL_WIDTH + 2 * RATE_WIDTH + 5, width, rate / most * 0.79);
	pen->row++;
}

static int by_rate(const void *left, const void *right)
{
	const struct top_count *a = left, *b = right;

	return a->value < b->value ? 1 : a->value > b->value ? -1 : strcmp(a->name, b->name);
}

/* The drop reasons that grow fastest. */
static void draw_reasons(struct pen *pen, const struct top_sample *now,
			 const struct top_sample *before, double seconds, double most)
{
	struct top_counts rates = now->reasons;

	for (size_t i = 0; i < rates.count; i++)
		rates.rows[i].value =
			top_rate(now->reasons.rows[i].value,
				 top_counts_value(&before->reasons, rates.rows[i].name), seconds);
	qsort(rates.rows, rates.count, sizeof(rates.rows[0]), by_rate);
	for (size_t i = 0; i < rates.count && i < REASONS && rates.rows[i].value > 0; i++) {
		const char *name = rates.rows[i].name;
		char text[40];

		snprintf(text, sizeof(text), "  %s", name);
		draw_counter(pen, text, top_counts_value(&now->reasons, name),
			     top_counts_value(&before->reasons, name), seconds, most);
	}
}

static double most_of(const struct top_sample *now, const struct top_sample *before, double seconds)
{
	double steered = top_rate(now->steered, before->steered, seconds);
	double passed = top_rate(now->passed, before->passed, seconds);
	double dropped = top_rate(now->dropped, before->dropped, seconds);

	return fmax(fmax(steered, passed), dropped);
}

static void draw_gate(struct pen *pen, const struct top_sample *now,
		      const struct top_sample *before, double seconds)
{
	double most = most_of(now, before, seconds);

	put(pen, 0, TOP_HEADING, "%-*s %*s %*s", LABEL_WIDTH, "GATE", RATE_WIDTH + 2, "RATE",
	    RATE_WIDTH, "TOTAL");
	pen->row++;
	draw_counter(pen, "steered to the agent", now->steered, before->steered, seconds, most);
	draw_counter(pen, "passed to the kernel", now->passed, before->passed, seconds, most);
	draw_counter(pen, "acked by the gate", now->acks, before->acks, seconds, most);
	draw_counter(pen, "dropped", now->dropped, before->dropped, seconds, most);
	draw_reasons(pen, now, before, seconds, most);
	pen->row++;
}

static void draw_sessions(struct pen *pen, const struct top_sample *now,
			  const struct top_sample *before, double seconds)
{
	char used[16], limit[16], opened[16], delivered[16], refused[16];
	unsigned int column;

	column = put(pen, 0, TOP_HEADING, "SESSIONS ");
	column = put_bar(pen, column, 22, top_fill(now->sessions, now->sessions_limit));
	column = put(pen, column, TOP_PLAIN, " %s of %s", number(now->sessions, used),
		     number(now->sessions_limit, limit));
	for (size_t i = 0; i < now->states.count; i++)
		if (now->states.rows[i].value > 0)
			column = put(pen, column, TOP_PLAIN, ", %s %s", now->states.rows[i].name,
				     number(now->states.rows[i].value, used));
	pen->row++;
	put(pen, 0, TOP_PLAIN, "frames opened %s/s, messages delivered %s/s, refused %s/s",
	    number(top_rate(now->opened, before->opened, seconds), opened),
	    number(top_rate(now->delivered, before->delivered, seconds), delivered),
	    number(top_rate(now->rejected_total, before->rejected_total, seconds), refused));
	pen->row += 2;
}

static void draw_tcp(struct pen *pen, const struct top_sample *now, const struct top_sample *before,
		     double seconds)
{
	char overflows[16], drops[16], cookies[16];
	double overflow_rate = top_rate(now->overflows, before->overflows, seconds);

	put(pen, 0, overflow_rate > 0 ? TOP_ALERT : TOP_PLAIN,
	    "TCP: accept queue overflows %s/s, listen drops %s/s, SYN cookies %s/s",
	    number(overflow_rate, overflows),
	    number(top_rate(now->listen_drops, before->listen_drops, seconds), drops),
	    number(top_rate(now->cookies, before->cookies, seconds), cookies));
	pen->row++;
}

/* Where the columns of a listener's row are, for the width at hand. */
struct places {
	unsigned int name, accept, syn, bar;
};

static struct places places_of(unsigned int columns)
{
	struct places at = { .name = 34, .bar = 10 };

	if (columns > 100) {
		at.name = 48;
		at.bar = (columns - at.name - 36) / 2;
	}
	at.accept = at.name + 1;
	at.syn = at.accept + at.bar + 13;
	return at;
}

static void draw_queue(struct pen *pen, unsigned int column, unsigned int bar, double length,
		       double limit)
{
	char one[16], other[16];

	column = put_bar(pen, column, bar, top_fill(length, limit));
	put(pen, column + 1, TOP_PLAIN, "%5s/%-5s", number(length, one), number(limit, other));
}

static void draw_listener(struct pen *pen, const struct places *at, const struct top_listener *row)
{
	char name[128], young[16];
	bool v6 = strchr(row->address, ':') != NULL;

	snprintf(name, sizeof(name), "%s%s%s:%s", v6 ? "[" : "", row->address, v6 ? "]" : "",
		 row->port);
	put(pen, 0, TOP_PLAIN, "%-12.12s %-*.*s", row->netns, (int)at->name - 13,
	    (int)at->name - 13, name);
	draw_queue(pen, at->accept, at->bar, row->accept, row->accept_limit);
	draw_queue(pen, at->syn, at->bar, row->syn, row->syn_limit);
	if (pen->screen->columns > at->syn + at->bar + 20)
		put(pen, at->syn + at->bar + 14, TOP_PLAIN, "%5s", number(row->syn_young, young));
	pen->row++;
}

static void draw_listeners(struct pen *pen, const struct top_view *view,
			   const struct top_sample *now)
{
	struct places at = places_of(pen->screen->columns);
	unsigned int last = pen->screen->rows - (view->keys ? 1 : 0);

	put(pen, 0, TOP_HEADING, "%-12s LISTENER (by %s)", "NETNS", top_sort_name(view->sort));
	put(pen, at.accept, TOP_HEADING, "ACCEPT QUEUE");
	put(pen, at.syn, TOP_HEADING, "SYN QUEUE");
	if (pen->screen->columns > at.syn + at.bar + 20)
		put(pen, at.syn + at.bar + 14, TOP_HEADING, "YOUNG");
	pen->row++;
	for (size_t i = 0; i < now->listener_count && pen->row < last; i++)
		draw_listener(pen, &at, &now->listeners[i]);
	if (!now->listener_count)
		put(pen, 0, TOP_PLAIN, "no TCP listener");
}

unsigned int top_screen_rows(const struct top_sample *now)
{
	return FIXED_ROWS + REASONS + (unsigned int)now->listener_count;
}

void top_screen_draw(struct top_screen *screen, const struct top_view *view,
		     const struct top_sample *now, const struct top_sample *before)
{
	double seconds = now->taken_s - before->taken_s;
	struct pen pen = { .screen = screen };

	memset(screen->cells, ' ', (size_t)screen->rows * screen->columns);
	memset(screen->styles, TOP_PLAIN, (size_t)screen->rows * screen->columns);
	if (!screen->rows || !screen->columns)
		return;
	draw_title(&pen, view, now);
	if (view->trouble) {
		put(&pen, 0, TOP_ALERT, "%s", view->trouble);
		pen.row++;
	}
	draw_interfaces(&pen, now);
	pen.row++;
	draw_gate(&pen, now, before, seconds);
	draw_sessions(&pen, now, before, seconds);
	draw_tcp(&pen, now, before, seconds);
	draw_listeners(&pen, view, now);
	if (!view->keys)
		return;
	pen.row = screen->rows - 1;
	put(&pen, 0, TOP_HEADING, "q quit   p pause   s sort   + - interval%s",
	    now->listeners_lost ? "   (more listeners than can be shown)" : "");
}
