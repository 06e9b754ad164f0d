// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <curses.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "request.h"
#include "top_screen.h"

#define INTERVAL_DEFAULT 1
#define INTERVAL_MAX	 60
#define COLUMNS_DEFAULT	 80
#define COLUMNS_MIN	 80
#define KEY_ESCAPE	 27

struct top {
	struct top_view view;
	struct top_sample *now, *before;
	struct top_screen screen;
	char trouble[600];
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = 1;
}

static double clock_s(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A new sample; the last becomes the one before. On failure both stay, and view.trouble says why.
 */
static int take_sample(struct top *top)
{
	struct request request = { .path = "/v1/metrics" };
	struct top_sample *old = top->before;
	ANSWER answer = { 0 };
	int rc = request_quietly(&request, &answer);

	top->view.now_s = clock_s(CLOCK_REALTIME);
	top->view.trouble = top->trouble;
	if (rc) {
		snprintf(top->trouble, sizeof(top->trouble), "%s", answer.why);
		return rc;
	}
	if (!answer.text || !top_sample_parse(answer.text, old)) {
		snprintf(top->trouble, sizeof(top->trouble), "the agent's answer holds no metrics");
		memset(old, 0, sizeof(*old));
		return CLI_FAILED;
	}
	old->taken_s = clock_s(CLOCK_MONOTONIC);
	top_sort_listeners(old, top->view.sort);
	top->before = top->now;
	top->now = old;
	top->view.trouble = NULL;
	return CLI_DONE;
}

/* --- once --------------------------------------------------------------------------------------
 */

static unsigned int terminal_columns(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	unsigned long long number;

	if (columns && cli_number(columns, COLUMNS_MIN, 1000, &number))
		return (unsigned int)number;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col >= COLUMNS_MIN)
		return size.ws_col;
	return COLUMNS_DEFAULT;
}

static void print_screen(const struct top_screen *screen)
{
	unsigned int last = 0;

	for (unsigned int row = 0; row < screen->rows; row++)
		for (unsigned int i = 0; i < screen->columns; i++)
			if (screen->cells[(size_t)row * screen->columns + i] != ' ')
				last = row;
	for (unsigned int row = 0; row <= last; row++) {
		const char *line = screen->cells + (size_t)row * screen->columns;
		unsigned int length = screen->columns;

		while (length && line[length - 1] == ' ')
			length--;
		printf("%.*s\n", (int)length, line);
	}
}

static int run_once(struct top *top)
{
	struct timespec wait = { .tv_sec = top->view.interval_s };

	nanosleep(&wait, NULL);
	if (take_sample(top))
		return cli_fail(CLI_FAILED, "top: %s", top->trouble);
	if (top_screen_init(&top->screen, top_screen_rows(top->now), terminal_columns()))
		return cli_fail(CLI_FAILED, "top: out of memory");
	top_screen_draw(&top->screen, &top->view, top->now, top->before);
	print_screen(&top->screen);
	return CLI_DONE;
}

/* --- on a terminal -----------------------------------------------------------------------------
 */

static attr_t attribute(enum top_style style)
{
	static const attr_t plain[TOP_STYLE_COUNT] = {
		[TOP_HEADING] = A_BOLD,
		[TOP_HIGH] = A_BOLD,
		[TOP_FULL] = A_REVERSE,
		[TOP_ALERT] = A_BOLD,
	};

	return plain[style] | (has_colors() ? COLOR_PAIR((int)style + 1) : 0);
}

static void start_colors(void)
{
	static const short colors[TOP_STYLE_COUNT] = {
		[TOP_PLAIN] = -1,	   [TOP_HEADING] = -1,	   [TOP_GOOD] = COLOR_GREEN,
		[TOP_HIGH] = COLOR_YELLOW, [TOP_FULL] = COLOR_RED, [TOP_ALERT] = COLOR_RED,
	};

	if (!has_colors())
		return;
	start_color();
	use_default_colors();
	for (short i = 0; i < TOP_STYLE_COUNT; i++)
		init_pair((short)(i + 1), colors[i], -1);
}

static int fit_screen(struct top *top)
{
	unsigned int rows = (unsigned int)getmaxy(stdscr), columns = (unsigned int)getmaxx(stdscr);

	if (top->screen.rows == rows && top->screen.columns == columns)
		return 0;
	top_screen_done(&top->screen);
	return top_screen_init(&top->screen, rows, columns);
}

static int show(struct top *top)
{
	struct top_screen *screen = &top->screen;

	if (fit_screen(top))
		return -1;
	top_screen_draw(screen, &top->view, top->now, top->before);
	for (unsigned int row = 0; row < screen->rows; row++)
		for (unsigned int i = 0; i < screen->columns; i++) {
			size_t at = (size_t)row * screen->columns + i;

			mvaddch((int)row, (int)i,
				(chtype)(unsigned char)screen->cells[at] |
					attribute(screen->styles[at]));
		}
	refresh();
	return 0;
}

/* Whether a key ends the program. */
static bool take_key(struct top *top, int key)
{
	struct top_view *view = &top->view;

	switch (key) {
	case 'q':
	case 'Q':
	case KEY_ESCAPE:
		return true;
	case 'p':
		view->paused = !view->paused;
		break;
	case 's':
		view->sort = (view->sort + 1) % TOP_SORT_COUNT;
		top_sort_listeners(top->now, view->sort);
		break;
	case '+':
		view->interval_s += view->interval_s < INTERVAL_MAX;
		break;
	case '-':
		view->interval_s -= view->interval_s > 1;
		break;
	}
	return false;
}

static int loop(struct top *top)
{
	double next = clock_s(CLOCK_MONOTONIC) + top->view.interval_s;

	while (!interrupted) {
		double left = next - clock_s(CLOCK_MONOTONIC);
		int key;

		if (show(top))
			return -1;
		timeout(left > 0 ? (int)(left * 1000) + 1 : 0);
		key = getch();
		if (key != ERR) {
			if (take_key(top, key))
				return 0;
			continue;
		}
		if (!top->view.paused)
			take_sample(top);
		next = clock_s(CLOCK_MONOTONIC) + top->view.interval_s;
	}
	return 0;
}

static int run_terminal(struct top *top)
{
	struct sigaction action = { .sa_handler = on_signal };
	SCREEN *terminal;
	int rc;

	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return cli_fail(CLI_USAGE, "top: this is no terminal; --once prints one page");
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal)
		return cli_fail(CLI_FAILED,
				"top: the terminal type \"%s\" is unknown; set TERM, or use --once",
				getenv("TERM") ? getenv("TERM") : "");
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	set_escdelay(25);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	start_colors();
	top->view.keys = true;
	rc = loop(top);
	endwin();
	delscreen(terminal);
	return rc ? cli_fail(CLI_FAILED, "top: out of memory") : CLI_DONE;
}

/* --- the verb ----------------------------------------------------------------------------------
 */

static int read_options(const struct cli_args *args, struct top_view *view)
{
	const char *interval = cli_option(args, "interval"), *sort = cli_option(args, "sort");
	unsigned long long number = INTERVAL_DEFAULT;

	if (cli.json)
		return cli_fail(CLI_USAGE,
				"top: draws a page and has no JSON; see packgate status, "
				"drops and listeners with --json");
	if (interval && !cli_number(interval, 1, INTERVAL_MAX, &number))
		return cli_fail(CLI_USAGE, "top: --interval %s: must be 1 to %d seconds", interval,
				INTERVAL_MAX);
	view->interval_s = (unsigned int)number;
	if (!sort)
		return CLI_DONE;
	for (enum top_sort i = 0; i < TOP_SORT_COUNT; i++)
		if (!strcmp(sort, top_sort_name(i))) {
			view->sort = i;
			return CLI_DONE;
		}
	return cli_fail(CLI_USAGE, "top: --sort %s: must be accept, syn or name", sort);
}

static void top_done(struct top *top)
{
	top_screen_done(&top->screen);
	free(top->now);
	free(top->before);
}

int cmd_top(const struct cli_args *args)
{
	PG_CLEANUP(top_done) struct top top = { 0 };
	int rc = read_options(args, &top.view);

	if (rc)
		return rc;
	top.now = calloc(1, sizeof(*top.now));
	top.before = calloc(1, sizeof(*top.before));
	if (!top.now || !top.before)
		return cli_fail(CLI_FAILED, "top: out of memory");
	rc = take_sample(&top);
	if (rc)
		return cli_fail(rc, "top: %s", top.trouble);
	*top.before = *top.now;
	return cli_option(args, "once") ? run_once(&top) : run_terminal(&top);
}
