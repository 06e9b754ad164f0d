/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_TOP_SCREEN_H
#define PG_CLI_TOP_SCREEN_H

#include "top_model.h"

/* A page of `packgate top` as plain cells: what a terminal shows, and what a test can read. */

enum top_style {
	TOP_PLAIN,
	TOP_HEADING,
	TOP_GOOD, /* of a bar, by how full it is */
	TOP_HIGH,
	TOP_FULL,
	TOP_ALERT, /* a sentence that wants to be seen */
	TOP_STYLE_COUNT
};

struct top_screen {
	unsigned int rows, columns;
	char *cells;	       /* rows * columns, blanks where nothing is */
	unsigned char *styles; /* the same, enum top_style */
};

/* 0, or -ENOMEM with an empty screen. */
int top_screen_init(struct top_screen *screen, unsigned int rows, unsigned int columns);
void top_screen_done(struct top_screen *screen);

struct top_view {
	enum top_sort sort;
	unsigned int interval_s;
	bool paused;
	bool keys;	     /* the last line explains the keys */
	double now_s;	     /* Unix time */
	const char *trouble; /* why there is nothing new; NULL = all is well */
};

/* Clears the screen and draws; before may equal now, then rates are 0. */
void top_screen_draw(struct top_screen *screen, const struct top_view *view,
		     const struct top_sample *now, const struct top_sample *before);

/* Rows that all of it takes, whatever the screen has. */
unsigned int top_screen_rows(const struct top_sample *now);

#endif
