// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http_route.h"

#define SHOWN 80 /* bytes of a foreign path in a sentence */

static size_t segment_length(const char *text)
{
	return strcspn(text, "/");
}

static bool take_segment(const char *text, size_t length, struct pg_http_args *args)
{
	if (!length || length >= sizeof(args->segments[0]) || args->count == PG_HTTP_ARGS_MAX)
		return false;
	memcpy(args->segments[args->count], text, length);
	args->segments[args->count++][length] = 0;
	return true;
}

static bool match(const char *pattern, const char *path, struct pg_http_args *args)
{
	args->count = 0;
	while (*pattern == '/' && *path == '/') {
		size_t wanted = segment_length(++pattern), found = segment_length(++path);

		if (wanted == 2 && !memcmp(pattern, "{}", 2)) {
			if (!take_segment(path, found, args))
				return false;
		} else if (wanted != found || memcmp(pattern, path, wanted)) {
			return false;
		}
		pattern += wanted;
		path += found;
	}
	return !*pattern && !*path;
}

/* GET serves HEAD: the server leaves the body away. */
static bool method_serves(const char *have, const char *asked)
{
	return !strcmp(have, asked) || (!strcmp(have, "GET") && !strcmp(asked, "HEAD"));
}

static size_t common_prefix(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

/* Names every route that shares the longest beginning with the path. */
static int refuse_path(const struct pg_http_route *routes, size_t count, const char *path,
		       struct pg_error *error)
{
	char near[200] = "";
	size_t i, best = 0, used = 0;

	for (i = 0; i < count; i++)
		if (common_prefix(routes[i].pattern, path) > best)
			best = common_prefix(routes[i].pattern, path);
	for (i = 0; i < count; i++) {
		int n;

		if (common_prefix(routes[i].pattern, path) < best)
			continue;
		n = snprintf(near + used, sizeof(near) - used, "%s%s %s", used ? ", " : "",
			     routes[i].method, routes[i].pattern);
		if (n < 0 || (size_t)n >= sizeof(near) - used) {
			near[used] = 0;
			break;
		}
		used += (size_t)n;
	}
	return pg_error_set(error, -ENOENT, "no route %.*s; near it: %s", SHOWN, path, near);
}

static void allow_method(char allow[64], const char *method)
{
	size_t used = strlen(allow);

	snprintf(allow + used, 64 - used, "%s%s", used ? ", " : "", method);
}

int pg_http_route(const struct pg_http_route *routes, size_t count, const char *method,
		  const char *path, const struct pg_http_route **ret_route,
		  struct pg_http_args *ret_args, char allow[64], struct pg_error *error)
{
	struct pg_http_args args;
	size_t i;

	allow[0] = 0;
	for (i = 0; i < count; i++) {
		if (!match(routes[i].pattern, path, &args))
			continue;
		if (method_serves(routes[i].method, method)) {
			*ret_route = &routes[i];
			*ret_args = args;
			return 0;
		}
		allow_method(allow, routes[i].method);
	}
	if (!allow[0])
		return refuse_path(routes, count, path, error);
	return pg_error_set(error, -EOPNOTSUPP, "%.*s takes %s, not %.16s", SHOWN, path, allow,
			    method);
}

bool pg_http_query_allowed(const struct pg_http_route *route, const char *key)
{
	size_t length = strlen(key);
	const char *word = route->query;

	while (word && *word) {
		size_t n = strcspn(word, " ");

		if (n == length && !memcmp(word, key, n))
			return true;
		word += n + strspn(word + n, " ");
	}
	return false;
}
