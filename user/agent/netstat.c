// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "netstat.h"

/* The tables are 6 KiB today; what is larger than this is not them. */
#define FILE_BYTES_MAX 65536

const struct pg_netstat_info pg_netstat_info[PG_NETSTAT_FIELDS] = {
#define PG_X(field, table, kernel, metric, help) { #field, table, kernel, metric, help },
	PG_NETSTAT(PG_X)
#undef PG_X
};

/* A range of the text that is walked from its front. */
struct span {
	const char *at, *end;
};

/* Cuts off what stands before the separator, or everything. Returns whether it was there. */
static bool cut_at(struct span *rest, char separator, struct span *ret_part)
{
	const char *found = memchr(rest->at, separator, rest->end - rest->at);

	*ret_part = (struct span){ rest->at, found ? found : rest->end };
	rest->at = found ? found + 1 : rest->end;
	return found;
}

/* Cuts off the next word between spaces. Returns whether there was one. */
static bool cut_word(struct span *rest, struct span *ret_word)
{
	while (rest->at < rest->end) {
		cut_at(rest, ' ', ret_word);
		if (ret_word->at < ret_word->end)
			return true;
	}
	return false;
}

static bool is_text(const struct span *span, const char *text)
{
	size_t bytes = span->end - span->at;

	return strlen(text) == bytes && !memcmp(span->at, text, bytes);
}

static int parse_number(const struct span *word, uint64_t *ret_number)
{
	const char *at = word->at;
	uint64_t number = 0;

	for (; at < word->end; at++) {
		if (*at < '0' || *at > '9' || __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, *at - '0', &number))
			return -EBADMSG;
	}
	*ret_number = number;
	return 0;
}

static int take_field(const struct span *table, const struct span *name, const struct span *value,
		      struct pg_netstat *netstat)
{
	int i;

	if (is_text(table, "Tcp") && is_text(name, "CurrEstab"))
		return parse_number(value, &netstat->established);
	for (i = 0; i < PG_NETSTAT_FIELDS; i++) {
		if (!is_text(table, pg_netstat_info[i].table) ||
		    !is_text(name, pg_netstat_info[i].kernel))
			continue;
		if (pg_netstat_has(netstat, i))
			return -EBADMSG;
		netstat->present |= 1U << i;
		return parse_number(value, &netstat->values[i]);
	}
	return 0;
}

static int take_pair(struct span names, struct span values, struct pg_netstat *netstat)
{
	struct span table, same, name = { 0 }, value = { 0 };
	bool more_names, more_values;
	int err;

	if (!cut_at(&names, ':', &table) || !cut_at(&values, ':', &same) ||
	    same.end - same.at != table.end - table.at ||
	    memcmp(same.at, table.at, table.end - table.at))
		return -EBADMSG;
	while (true) {
		more_names = cut_word(&names, &name);
		more_values = cut_word(&values, &value);
		if (more_names != more_values)
			return -EBADMSG;
		if (!more_names)
			return 0;
		err = take_field(&table, &name, &value, netstat);
		if (err)
			return err;
	}
}

int pg_netstat_parse(const char *text, size_t bytes, struct pg_netstat *netstat)
{
	struct span names, values, rest = { text, text + bytes };
	struct pg_netstat result = *netstat;
	int err;

	while (rest.at < rest.end) {
		/* a value without the line's end may be cut short */
		if (!cut_at(&rest, '\n', &names) || !cut_at(&rest, '\n', &values))
			return -EBADMSG;
		err = take_pair(names, values, &result);
		if (err)
			return err;
	}
	*netstat = result;
	return 0;
}

static void take_sockets(const struct span *table, const struct span *name, uint64_t number,
			 struct pg_netstat_sockets *sockets)
{
	if (!is_text(table, "TCP") && !is_text(table, "TCP6"))
		return;
	if (is_text(name, "inuse"))
		sockets->in_use += number;
	else if (is_text(name, "tw"))
		sockets->time_wait += number;
}

int pg_netstat_parse_sockets(const char *text, size_t bytes, struct pg_netstat_sockets *sockets)
{
	struct span line, table, name, value, rest = { text, text + bytes };
	struct pg_netstat_sockets result = *sockets;
	uint64_t number;

	while (rest.at < rest.end) {
		if (!cut_at(&rest, '\n', &line) || !cut_at(&line, ':', &table))
			return -EBADMSG;
		while (cut_word(&line, &name)) {
			if (!cut_word(&line, &value) || parse_number(&value, &number))
				return -EBADMSG;
			take_sockets(&table, &name, number, &result);
		}
	}
	*sockets = result;
	return 0;
}

/* Reads a whole file into text. Returns its bytes, or a negative errno. */
static ssize_t read_file(const char *path, char *text, size_t room)
{
	PG_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t filled = 0;
	ssize_t bytes;

	if (fd < 0)
		return -errno;
	do {
		bytes = read(fd, text + filled, room - filled);
		if (bytes > 0)
			filled += bytes;
	} while ((bytes > 0 && filled < room) || (bytes < 0 && errno == EINTR));
	if (bytes < 0)
		return -errno;
	return filled < room ? (ssize_t)filled : -EFBIG;
}

/* Reads and takes in one file of the calling thread's namespace. */
static int read_table(const char *name, char *text, struct pg_netstat *netstat,
		      struct pg_netstat_sockets *sockets, struct pg_error *error)
{
	char path[64];
	ssize_t bytes;
	int err;

	snprintf(path, sizeof(path), "/proc/thread-self/net/%s", name);
	bytes = read_file(path, text, FILE_BYTES_MAX);
	if (bytes < 0)
		err = bytes;
	else if (sockets)
		err = pg_netstat_parse_sockets(text, bytes, sockets);
	else
		err = pg_netstat_parse(text, bytes, netstat);
	return err ? pg_error_set(error, err, "reading %s: %s", path, strerror(-err)) : 0;
}

int pg_netstat_read(struct pg_netstat *ret_netstat, struct pg_netstat_sockets *ret_sockets,
		    struct pg_error *error)
{
	PG_FREE char *text = malloc(FILE_BYTES_MAX);
	struct pg_netstat_sockets sockets = { 0 };
	struct pg_netstat netstat = { 0 };
	int err;

	if (!text)
		return pg_error_set(error, -ENOMEM, "reading the TCP counters: out of memory");
	err = read_table("netstat", text, &netstat, NULL, error);
	if (!err)
		err = read_table("snmp", text, &netstat, NULL, error);
	if (!err)
		err = read_table("sockstat", text, NULL, &sockets, error);
	if (!err)
		err = read_table("sockstat6", text, NULL, &sockets, error);
	/* a kernel without IPv6 has no such file */
	if (err && err != -ENOENT)
		return err;
	sockets.established = netstat.established;
	*ret_netstat = netstat;
	*ret_sockets = sockets;
	return 0;
}

static int read_sysctl(const char *name, int64_t *ret_value, struct pg_error *error)
{
	char path[64], text[32], *end;
	ssize_t bytes;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	bytes = read_file(path, text, sizeof(text));
	if (bytes == -ENOENT) {
		*ret_value = PG_NETSTAT_NO_SYSCTL;
		return 0;
	}
	if (bytes < 0)
		return pg_error_set(error, bytes, "reading %s: %s", path, strerror(-bytes));
	text[bytes] = '\0';
	*ret_value = strtoll(text, &end, 10);
	if (end == text || *end != '\n')
		return pg_error_set(error, -EBADMSG, "reading %s: it holds no number", path);
	return 0;
}

int pg_netstat_sysctls(struct pg_netstat_sysctls *ret_sysctls, struct pg_error *error)
{
	struct pg_netstat_sysctls sysctls;
	int err = 0;

#define PG_X(field, path) \
	if (!err)         \
		err = read_sysctl(path, &sysctls.field, error);
	PG_NETSTAT_SYSCTLS(PG_X)
#undef PG_X
	if (!err)
		*ret_sysctls = sysctls;
	return err;
}
