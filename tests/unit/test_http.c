// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <cmocka.h>

#include "cleanup.h"
#include "http.h"
#include "http_listen.h"
#include "http_route.h"

/* --- a route table that answers with what it was asked ------------------------------------------
 */

static int echo(void *context, const struct pg_http_request *request, struct pg_http_answer *answer,
		struct pg_error *error)
{
	const char *key = pg_http_query(request, "key");
	int n = asprintf(&answer->body, "%s|%s|%s|%zu|%.20s|%d", request->method,
			 request->args[0] ? request->args[0] : "", key ? key : "",
			 request->body_bytes, request->body, request->uid == getuid());

	answer->body_bytes = n < 0 ? 0 : (size_t)n;
	return 0;
}

static int failing(void *context, const struct pg_http_request *request,
		   struct pg_http_answer *answer, struct pg_error *error)
{
	return pg_error_set(error, -atoi(request->args[0]), "failed with \"%s\"", request->args[0]);
}

static int slow(void *context, const struct pg_http_request *request, struct pg_http_answer *answer,
		struct pg_error *error)
{
	usleep(5500 * 1000);
	answer->body = strdup("late");
	answer->body_bytes = 4;
	return 0;
}

struct streams {
	int begun, freed;
};

struct counter {
	int lines;
	struct streams *streams;
};

static ssize_t count_line(void *context, char *bytes, size_t max)
{
	struct counter *counter = context;

	if (counter->lines == 3)
		return -ECANCELED;
	return snprintf(bytes, max, "{\"line\":%d}\n", counter->lines++);
}

static ssize_t wait_for_ever(void *context, char *bytes, size_t max)
{
	usleep(20 * 1000);
	return 0;
}

static ssize_t flood(void *context, char *bytes, size_t max)
{
	memset(bytes, 'x', max);
	return (ssize_t)max;
}

static void free_counter(void *context)
{
	struct counter *counter = context;

	__atomic_add_fetch(&counter->streams->freed, 1, __ATOMIC_RELEASE);
	free(counter);
}

static int streaming(void *context, const struct pg_http_request *request,
		     struct pg_http_answer *answer, struct pg_error *error)
{
	struct counter *counter = calloc(1, sizeof(*counter));

	counter->streams = context;
	__atomic_add_fetch(&counter->streams->begun, 1, __ATOMIC_RELEASE);
	answer->content_type = "application/x-ndjson";
	answer->stream.context = counter;
	answer->stream.free = free_counter;
	answer->stream.read = !strcmp(request->args[0], "three")   ? count_line
			      : !strcmp(request->args[0], "flood") ? flood
								   : wait_for_ever;
	return 0;
}

static const struct pg_http_route routes[] = {
	{ "GET", "/v1/status", NULL, echo },	     { "GET", "/v1/sessions", "key other", echo },
	{ "POST", "/v1/sessions", NULL, echo },	     { "GET", "/v1/sessions/{}", NULL, echo },
	{ "DELETE", "/v1/sessions/{}", NULL, echo }, { "POST", "/v1/fail/{}/now", NULL, failing },
	{ "GET", "/v1/stream/{}", NULL, streaming }, { "GET", "/v1/slow", NULL, slow },
};

#define ROUTES (sizeof(routes) / sizeof(routes[0]))

/* --- fixture and client -------------------------------------------------------------------------
 */

struct fixture {
	char folder[64], path[96];
	struct pg_http *http;
	struct streams streams;
};

static int open_http(struct fixture *fixture, struct pg_error *error)
{
	struct pg_http_options options = { .path = fixture->path,
					   .mode = 0640,
					   .routes = routes,
					   .route_count = ROUTES,
					   .context = &fixture->streams };

	return pg_http_open(&options, &fixture->http, error);
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct pg_error error = { "" };

	strcpy(fixture->folder, "/tmp/pg-http-XXXXXX");
	if (!mkdtemp(fixture->folder))
		return -1;
	snprintf(fixture->path, sizeof(fixture->path), "%s/run/c.sock", fixture->folder);
	*state = fixture;
	if (!open_http(fixture, &error))
		return 0;
	print_error("%s\n", error.text);
	return -1;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	char folder[80];

	pg_http_close(fixture->http);
	snprintf(folder, sizeof(folder), "%s/run", fixture->folder);
	unlink(fixture->path);
	rmdir(folder);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

static int dial(const struct fixture *fixture)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, fixture->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		text += n;
		bytes -= (size_t)n;
	}
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Reads until the server closes or 9 s have passed; -1 in the second case. */
static ssize_t hear(int fd, char *buffer, size_t room)
{
	double end = seconds() + 9;
	size_t used = 0;

	while (seconds() < end) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&pfd, 1, 100) <= 0)
			continue;
		n = recv(fd, buffer + used, room - 1 - used, 0);
		if (n <= 0) {
			buffer[used] = 0;
			return (ssize_t)used;
		}
		used += (size_t)n;
		if (used == room - 1)
			used = room / 2; /* only the beginning and the end matter */
	}
	buffer[used] = 0;
	return -1;
}

/* One exchange; returns the status, 0 if the server closed without an answer. */
static int ask(const struct fixture *fixture, const char *request, size_t bytes, char *answer,
	       size_t room)
{
	PG_CLOSE int fd = dial(fixture);
	int status = 0;

	say(fd, request, bytes);
	assert_int_not_equal(hear(fd, answer, room), -1);
	sscanf(answer, "HTTP/1.1 %d", &status);
	return status;
}

static const char *body_of(const char *answer)
{
	const char *body = strstr(answer, "\r\n\r\n");

	return body ? body + 4 : "";
}

/* --- requests -----------------------------------------------------------------------------------
 */

#define H " HTTP/1.1\r\nHost: a\r\n"

static const struct request_row {
	const char *name;
	const char *request;
	int status;
	const char *body; /* part of the answer */
} request_rows[] = {
	{ "get", "GET /v1/status" H "\r\n", 200, "GET|||0||1" },
	{ "head", "HEAD /v1/status" H "\r\n", 200, "" },
	{ "http 1.0", "GET /v1/status HTTP/1.0\r\n\r\n", 200, "GET|||0||1" },
	{ "argument", "GET /v1/sessions/1234abcd" H "\r\n", 200, "GET|1234abcd||0||1" },
	{ "delete", "DELETE /v1/sessions/1234abcd" H "\r\n", 200, "DELETE|1234abcd||0||1" },
	{ "query", "GET /v1/sessions?key=a%20b" H "\r\n", 200, "GET||a b|0||1" },
	{ "empty query value", "GET /v1/sessions?key=" H "\r\n", 200, "GET|||0||1" },
	{ "body", "POST /v1/sessions" H "Content-Length: 5\r\n\r\nhello", 200, "POST|||5|hello|1" },
	{ "no body", "POST /v1/sessions" H "Content-Length: 0\r\n\r\n", 200, "POST|||0||1" },
	{ "chunked",
	  "POST /v1/sessions" H "Transfer-Encoding: chunked\r\n\r\n"
	  "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
	  200, "POST|||5|hello|1" },
	{ "query key", "GET /v1/sessions?kex=1" H "\r\n", 400, "allowed: key other" },
	{ "query key prefix", "GET /v1/sessions?ke=1" H "\r\n", 400,
	  "the query key ke is unknown" },
	{ "query without value", "GET /v1/sessions?key" H "\r\n", 400, "has no value" },
	{ "query where none", "GET /v1/status?key=1" H "\r\n", 400, "this route takes none" },
	{ "route", "GET /v1/session" H "\r\n", 404, "GET /v1/sessions, POST /v1/sessions" },
	{ "route root", "GET /" H "\r\n", 404, "{\"error\":\"no route /; near it: GET /v1/status" },
	{ "route of nothing", "GET /v1/sessions/" H "\r\n", 404, "no route /v1/sessions/" },
	{ "route too deep", "GET /v1/sessions/1/2" H "\r\n", 404, "no route" },
	{ "route with rubbish", "GET /v1/%ff%00x" H "\r\n", 404, "no route /v1/?;" },
	{ "route with a quote", "GET /v1/%22" H "\r\n", 404, "no route /v1/\\\";" },
	{ "method", "PUT /v1/sessions" H "Content-Length: 2\r\n\r\nhi", 405, "takes GET, POST" },
	{ "method of one", "POST /v1/status" H "\r\n", 405, "/v1/status takes GET, not POST" },
	{ "EINVAL", "POST /v1/fail/22/now" H "\r\n", 400,
	  "{\"error\":\"failed with \\\"22\\\"\"}" },
	{ "ENOENT", "POST /v1/fail/2/now" H "\r\n", 404, "failed with" },
	{ "EPERM", "POST /v1/fail/1/now" H "\r\n", 403, "failed with" },
	{ "EEXIST", "POST /v1/fail/17/now" H "\r\n", 409, "failed with" },
	{ "EBUSY", "POST /v1/fail/16/now" H "\r\n", 503, "failed with" },
	{ "ENOSPC", "POST /v1/fail/28/now" H "\r\n", 507, "failed with" },
	{ "EIO", "POST /v1/fail/5/now" H "\r\n", 500, "failed with" },
	{ "stream", "GET /v1/stream/three" H "\r\n", 200, "{\"line\":2}" },
	{ "body announced too big", "POST /v1/sessions" H "Content-Length: 1048577\r\n\r\n", 413,
	  "larger than 1 MiB" },
	{ "absurd length", "POST /v1/sessions" H "Content-Length: 99999999999999\r\n\r\n", 413,
	  "larger than 1 MiB" },
	{ "no HTTP", "hello\r\n\r\n", 0, "" }, /* closed */
	{ "bad length", "POST /v1/sessions" H "Content-Length: x\r\n\r\n", 400, "" },
	{ "negative length", "POST /v1/sessions" H "Content-Length: -1\r\n\r\n", 400, "" },
	{ "no host", "GET /v1/status HTTP/1.1\r\n\r\n", 400, "" },
};

static void test_requests(void **state)
{
	char answer[8192];
	size_t i;

	for (i = 0; i < sizeof(request_rows) / sizeof(request_rows[0]); i++) {
		const struct request_row *row = &request_rows[i];
		int status =
			ask(*state, row->request, strlen(row->request), answer, sizeof(answer));

		if (status != row->status)
			fail_msg("%s: status %d: %s", row->name, status, answer);
		if (!strstr(answer, row->body))
			fail_msg("%s: %s", row->name, answer);
	}
	assert_int_equal(ask(*state, request_rows[1].request, strlen(request_rows[1].request),
			     answer, sizeof(answer)),
			 200);
	assert_string_equal(body_of(answer), "");
}

static void test_allow_header(void **state)
{
	static const char request[] = "PUT /v1/sessions/1" H "\r\n";
	char answer[8192];

	assert_int_equal(ask(*state, request, strlen(request), answer, sizeof(answer)), 405);
	assert_non_null(strstr(answer, "Allow: GET, DELETE\r\n"));
}

/* --- limits -------------------------------------------------------------------------------------
 */

static int post(struct fixture *fixture, size_t bytes, bool chunked, char *answer, size_t room)
{
	PG_FREE char *request = malloc(bytes + 512);
	int n = sprintf(request,
			chunked ? "POST /v1/sessions" H "Transfer-Encoding: chunked\r\n\r\n%zx\r\n"
				: "POST /v1/sessions" H "Content-Length: %zu\r\n\r\n",
			bytes);

	memset(request + n, 'b', bytes);
	strcpy(request + n + bytes, chunked ? "\r\n0\r\n\r\n" : "");
	return ask(fixture, request, (size_t)n + bytes + (chunked ? 7 : 0), answer, room);
}

static void test_body_limit(void **state)
{
	char answer[8192];

	assert_int_equal(post(*state, PG_HTTP_BODY_MAX, false, answer, sizeof(answer)), 200);
	assert_non_null(strstr(answer, "POST|||1048576|bbbb"));
	assert_int_equal(post(*state, PG_HTTP_BODY_MAX, true, answer, sizeof(answer)), 200);
	assert_int_equal(post(*state, PG_HTTP_BODY_MAX + 1, false, answer, sizeof(answer)), 413);
	assert_int_equal(post(*state, PG_HTTP_BODY_MAX + 1, true, answer, sizeof(answer)), 413);
	assert_int_equal(post(*state, 8 * PG_HTTP_BODY_MAX, true, answer, sizeof(answer)), 413);
	assert_int_equal(post(*state, 10, false, answer, sizeof(answer)), 200);
}

static int get_padded(struct fixture *fixture, size_t bytes, char *answer, size_t room)
{
	PG_FREE char *request = calloc(1, bytes + 256);
	size_t used = (size_t)sprintf(request, "GET /v1/status" H);

	while (used + 204 < bytes)
		used += (size_t)sprintf(request + used, "X-Pad: %0193d\r\n", 7);
	strcpy(request + used, "\r\n");
	return ask(fixture, request, used + 2, answer, room);
}

static void test_header_limit(void **state)
{
	char answer[8192];

	assert_int_equal(get_padded(*state, 15 << 10, answer, sizeof(answer)), 200);
	assert_int_equal(get_padded(*state, 18 << 10, answer, sizeof(answer)), 431);
	assert_non_null(strstr(answer, "{\"error\":\"the headers are larger than 16 KiB\"}"));
	assert_int_equal(get_padded(*state, 400 << 10, answer, sizeof(answer)), 431);
	assert_int_equal(get_padded(*state, 1 << 10, answer, sizeof(answer)), 200);
}

/* A client that drips bytes is cut off after 5 s; others are served meanwhile. */
static void test_slow_clients(void **state)
{
	static const char *const begin[] = { "G", "GET /v1/status" H "X-Slow: ",
					     "POST /v1/sessions" H "Content-Length: 100\r\n\r\n",
					     "" };
	static const char quick[] = "GET /v1/status" H "\r\n";
	double started = seconds(), cut[4] = { 0 };
	char answer[8192];
	int fds[4], i, open = 4;

	for (i = 0; i < 4; i++) {
		fds[i] = dial(*state);
		say(fds[i], begin[i], strlen(begin[i]));
	}
	while (open && seconds() - started < 20) {
		assert_int_equal(ask(*state, quick, strlen(quick), answer, sizeof(answer)), 200);
		for (i = 0; i < 4; i++) {
			struct pollfd pfd = { .fd = fds[i], .events = POLLIN };

			if (cut[i] > 0)
				continue;
			if (i < 3)
				say(fds[i], "x", 1);
			if (poll(&pfd, 1, 0) > 0) {
				cut[i] = seconds() - started;
				open--;
			}
		}
		usleep(500 * 1000);
	}
	for (i = 0; i < 4; i++) {
		close(fds[i]);
		if (cut[i] < 4 || cut[i] > 15)
			fail_msg("client %d was cut after %.1f s", i, cut[i]);
	}
}

/* A handler may take longer than a client may. */
static void test_slow_handler(void **state)
{
	static const char request[] = "GET /v1/slow" H "\r\n";
	char answer[8192];

	assert_int_equal(ask(*state, request, strlen(request), answer, sizeof(answer)), 200);
	assert_string_equal(body_of(answer), "late");
}

static void test_client_limit(void **state)
{
	static const char request[] = "GET /v1/status" H "\r\n";
	int fds[PG_HTTP_CLIENTS_MAX], i, status = 0;
	char answer[8192];
	double end;

	for (i = 0; i < PG_HTTP_CLIENTS_MAX; i++)
		fds[i] = dial(*state);
	assert_int_equal(ask(*state, request, strlen(request), answer, sizeof(answer)), 503);
	assert_non_null(strstr(answer, "64 clients are connected already"));
	say(fds[63], request, strlen(request));
	assert_int_not_equal(hear(fds[63], answer, sizeof(answer)), -1);
	assert_non_null(strstr(answer, "HTTP/1.1 200"));
	close(fds[63]);
	for (end = seconds() + 3; status != 200 && seconds() < end;)
		status = ask(*state, request, strlen(request), answer, sizeof(answer));
	assert_int_equal(status, 200);
	for (i = 0; i < PG_HTTP_CLIENTS_MAX - 1; i++)
		close(fds[i]);
}

/* --- streams ------------------------------------------------------------------------------------
 */

static bool becomes(const int *count, int wanted)
{
	double end = seconds() + 20;

	while (seconds() < end) {
		if (__atomic_load_n(count, __ATOMIC_ACQUIRE) == wanted)
			return true;
		usleep(10 * 1000);
	}
	return false;
}

static void test_streams_end(void **state)
{
	static const char quiet[] = "GET /v1/stream/quiet" H "\r\n";
	static const char flooded[] = "GET /v1/stream/flood" H "\r\n";
	struct fixture *fixture = *state;
	char answer[8192];
	int left, stalled, fd;

	left = dial(fixture);
	say(left, quiet, strlen(quiet));
	assert_true(becomes(&fixture->streams.begun, 1));
	usleep(200 * 1000);
	assert_int_equal(fixture->streams.freed, 0);
	close(left);
	assert_true(becomes(&fixture->streams.freed, 1));

	stalled = dial(fixture); /* takes nothing */
	say(stalled, flooded, strlen(flooded));
	assert_true(becomes(&fixture->streams.freed, 2));
	close(stalled);

	fd = dial(fixture); /* the server stops */
	say(fd, quiet, strlen(quiet));
	assert_true(becomes(&fixture->streams.begun, 3));
	pg_http_close(TAKE_PTR(fixture->http));
	assert_int_equal(fixture->streams.freed, 3);
	assert_int_not_equal(hear(fd, answer, sizeof(answer)), -1);
	close(fd);
}

/* --- the socket file ----------------------------------------------------------------------------
 */

static void test_socket_file(void **state)
{
	static const char request[] = "GET /v1/status" H "\r\n";
	struct fixture *fixture = *state, second = *fixture;
	struct pg_error error = { "" };
	char answer[8192];
	struct stat st;

	assert_int_equal(stat(fixture->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(open_http(&second, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, "a running process answers on"));
	assert_int_equal(ask(fixture, request, strlen(request), answer, sizeof(answer)), 200);

	pg_http_close(TAKE_PTR(fixture->http));
	assert_int_equal(access(fixture->path, F_OK), -1);
}

static void test_stale_socket(void **state)
{
	static const char request[] = "GET /v1/status" H "\r\n";
	struct fixture *fixture = *state;
	struct pg_error error = { "" };
	char answer[8192];
	int fd;

	pg_http_close(TAKE_PTR(fixture->http));
	assert_int_equal(pg_listen_unix(fixture->path, SOCK_STREAM, NULL, 0600, &fd, NULL, &error),
			 0);
	close(fd); /* as a killed agent leaves it */
	assert_int_equal(open_http(fixture, &error), 0);
	assert_int_equal(ask(fixture, request, strlen(request), answer, sizeof(answer)), 200);
}

static void test_foreign_file(void **state)
{
	struct fixture *fixture = *state;
	struct pg_error error = { "" };
	FILE *file;

	pg_http_close(TAKE_PTR(fixture->http));
	file = fopen(fixture->path, "w");
	fclose(file);
	assert_int_equal(open_http(fixture, &error), -EEXIST);
	assert_non_null(strstr(error.text, "is a file that is not a socket"));
	assert_int_equal(access(fixture->path, F_OK), 0);
}

/* A successor's file stays when the old server closes late. */
static void test_successor(void **state)
{
	struct fixture *fixture = *state, successor = *fixture;
	struct pg_error error = { "" };

	unlink(fixture->path);
	assert_int_equal(open_http(&successor, &error), 0);
	pg_http_close(TAKE_PTR(fixture->http));
	assert_int_equal(access(successor.path, F_OK), 0);
	fixture->http = successor.http;
}

static void test_groups(void **state)
{
	struct fixture *fixture = *state;
	struct pg_error error = { "" }, warning = { "x" };
	struct stat st;
	int fd = -1;

	pg_http_close(TAKE_PTR(fixture->http));
	assert_int_equal(pg_listen_unix(fixture->path, SOCK_STREAM, "no-such-group", 0660, &fd,
					&warning, &error),
			 0);
	close(fd);
	assert_non_null(strstr(warning.text, "group no-such-group does not exist"));
	if (getuid())
		skip();
	assert_int_equal(
		pg_listen_unix(fixture->path, SOCK_STREAM, "12345", 0660, &fd, &warning, &error),
		0);
	close(fd);
	assert_string_equal(warning.text, "");
	assert_int_equal(stat(fixture->path, &st), 0);
	assert_int_equal(st.st_gid, 12345);
}

static void test_long_path(void **state)
{
	struct pg_error error = { "" };
	char path[200];
	int fd = -1;

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	assert_int_equal(pg_listen_unix(path, SOCK_STREAM, NULL, 0600, &fd, NULL, &error),
			 -ENAMETOOLONG);
	assert_int_equal(fd, -1);
}

static void test_tcp(void **state)
{
	static const char request[] = "GET /v1/status" H "\r\n";
	struct pg_http_options options = { .routes = routes, .route_count = ROUTES };
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct pg_http *http = NULL, *second = NULL;
	struct pg_error error = { "" };
	struct pg_peer listen;
	char answer[8192];
	uint16_t port;
	int fd;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (port = 39747; port < 39757 && !http; port++) {
		assert_int_equal(pg_address_parse("127.0.0.1", &listen.address, NULL), 0);
		listen.port = port;
		address.sin_port = htons(port);
		options.listen = &listen;
		pg_http_open(&options, &http, &error);
	}
	assert_non_null(http);
	assert_int_equal(pg_http_open(&options, &second, &error), -EADDRINUSE);
	assert_non_null(strstr(error.text, "listen on 127.0.0.1:39"));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	say(fd, request, strlen(request));
	assert_int_not_equal(hear(fd, answer, sizeof(answer)), -1);
	assert_string_equal(body_of(answer), "GET|||0||0"); /* no uid over TCP */
	close(fd);
	pg_http_close(http);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_allow_header, setup, teardown),
		cmocka_unit_test_setup_teardown(test_body_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_header_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_clients, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_handler, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_streams_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_successor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_groups, setup, teardown),
		cmocka_unit_test(test_long_path),
		cmocka_unit_test(test_tcp),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
