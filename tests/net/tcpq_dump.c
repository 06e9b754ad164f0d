// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * Prints the TCP listeners, counters and sysctls of the network namespace it runs in, as one JSON
 * object with the keys of `packgate listeners --json` and more. With a number it reads the
 * listeners that many times and prints only what one reading costs; with "diag" it reads them
 * through inet_diag; with "own" as the agent would with tcp: { namespaces: [own] }, and prints
 * where they come from. A number behind "diag" or "own" is the most rows of a reading.
 */
#include <bpf/libbpf.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cleanup.h"
#include "diag.h"
#include "listeners.h"
#include "netns.h"
#include "netstat.h"
#include "owners.h"
#include "tcpq.h"

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

static json_t *listener_json(const struct pg_tcpq_listener *row, const char *netns)
{
	char address[PG_ADDRESS_TEXT];
	json_t *object =
		json_pack("{s:s, s:s, s:i, s:b, s:b, s:b, s:s, s:i}", "netns", netns, "address",
			  pg_address_print(&row->address, address), "port", row->port, "ipv6",
			  row->ipv6, "v6only", row->v6only, "reuseport", row->reuseport,
			  "owner_comm", row->owner_comm, "owner_pid", row->owner_pid);

#define NUMBER(key, value) json_object_set_new(object, key, json_integer((json_int_t)(value)))
	NUMBER("bound_interface", row->bound_interface);
	NUMBER("cookie", row->cookie);
	NUMBER("inode", row->inode);
	NUMBER("uid", row->uid);
	NUMBER("accept_queue_length", row->accept_length);
	NUMBER("accept_queue_limit", row->accept_limit);
	NUMBER("syn_queue_length", row->syn_length);
	NUMBER("syn_queue_young", row->syn_young);
	NUMBER("syn_queue_limit", row->syn_limit);
	NUMBER("drops", row->drops);
	NUMBER("reuseport_sockets", row->reuseport_sockets);
	NUMBER("fastopen_queue_length", row->fastopen_length);
	NUMBER("fastopen_queue_limit", row->fastopen_limit);
#undef NUMBER
	json_object_set_new(object, "accept_queue_full", json_boolean(row->accept_full));
	json_object_set_new(object, "syn_queue_full", json_boolean(row->syn_full));
	return object;
}

static int counters_json(const char *netns, json_t **ret_counters, struct pg_error *error)
{
	struct pg_netstat_sockets sockets;
	struct pg_netstat netstat;
	int i, err = pg_netstat_read(&netstat, &sockets, error);

	if (err)
		return err;
	*ret_counters = json_pack("{s:s}", "netns", netns);
	for (i = 0; i < PG_NETSTAT_FIELDS; i++) {
		if (pg_netstat_has(&netstat, i))
			json_object_set_new(*ret_counters, pg_netstat_info[i].name,
					    json_integer((json_int_t)netstat.values[i]));
	}
	return 0;
}

static int sysctls_json(json_t **ret_sysctls, struct pg_error *error)
{
	struct pg_netstat_sysctls sysctls;
	int err = pg_netstat_sysctls(&sysctls, error);

	if (err)
		return err;
	*ret_sysctls = json_object();
#define PG_X(field, path) json_object_set_new(*ret_sysctls, #field, json_integer(sysctls.field));
	PG_NETSTAT_SYSCTLS(PG_X)
#undef PG_X
	return 0;
}

static int dump(struct pg_tcpq *tcpq, size_t most, struct pg_error *error)
{
	PG_FREE struct pg_tcpq_listener *rows = NULL;
	json_t *listeners = json_array(), *counters = NULL, *sysctls = NULL, *root;
	struct pg_diag_cut cut = { 0 };
	struct pg_netns netns;
	size_t i, n = 0;
	int err;

	err = pg_netns_own(&netns, error);
	if (!err)
		err = tcpq ? pg_tcpq_read(tcpq, &rows, &n, error)
			   : pg_diag_read(netns.inode, most, &rows, &n, &cut, error);
	if (!err)
		err = pg_owners_find(rows, n);
	if (!err)
		err = counters_json(netns.name, &counters, error);
	if (!err)
		err = sysctls_json(&sysctls, error);
	if (err)
		return err;
	for (i = 0; i < n; i++)
		json_array_append_new(listeners, listener_json(&rows[i], netns.name));
	root = json_pack("{s:o, s:[o], s:o, s:I, s:I, s:I}", "listeners", listeners, "counters",
			 counters, "sysctls", sysctls, "netns_inode", (json_int_t)netns.inode,
			 "cut", (json_int_t)(tcpq ? pg_tcpq_cut(tcpq) : cut.listeners),
			 "requests_cut", (json_int_t)cut.requests);
	json_dumpf(root, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(root);
	return 0;
}

static int dump_own(size_t most, struct pg_error *error)
{
	PG_CLEANUP(pg_listeners_sample_done) struct pg_listeners_sample sample = { 0 };
	struct pg_tcp_config config = { .namespaces = PG_NAMESPACES_OWN };
	json_t *rows = json_array(), *root;
	struct pg_listeners *listeners = NULL;
	int err = pg_listeners_open(most, &listeners, error);
	size_t i;

	if (!err)
		err = pg_listeners_read(listeners, &config, NULL, &sample, error);
	for (i = 0; i < sample.row_count; i++)
		json_array_append_new(
			rows, listener_json(&sample.rows[i], sample.namespaces[0].netns.name));
	root = json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "source",
			 pg_listeners_source_word(sample.source), "source_why", sample.source_why,
			 "cut", (json_int_t)sample.rows_cut, "requests_cut",
			 (json_int_t)sample.requests_cut, "namespace_cut",
			 (json_int_t)(sample.namespace_count ? sample.namespaces[0].cut : 0),
			 "listeners", rows);
	if (!err)
		json_dumpf(root, stdout, JSON_COMPACT);
	json_decref(root);
	pg_listeners_close(listeners);
	return err;
}

static double cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 + usage.ru_utime.tv_usec +
	       usage.ru_stime.tv_usec;
}

static int measure(struct pg_tcpq *tcpq, long times, struct pg_error *error)
{
	double before = cpu_us();
	size_t n = 0;
	long i;

	for (i = 0; i < times; i++) {
		PG_FREE struct pg_tcpq_listener *rows = NULL;
		int err = pg_tcpq_read(tcpq, &rows, &n, error);

		if (err)
			return err;
	}
	printf("%zu listeners, %.0f us of CPU a reading\n", n, (cpu_us() - before) / times);
	return 0;
}

int main(int argc, char **argv)
{
	long times = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
	struct pg_error error = { "" };
	struct pg_tcpq *tcpq = NULL;
	bool diag = argc > 1 && !strcmp(argv[1], "diag");
	bool own = argc > 1 && !strcmp(argv[1], "own");
	size_t most = argc > 2 ? strtoul(argv[2], NULL, 10) : PG_TCPQ_ROWS_MAX;
	int err;

	libbpf_set_print(quiet);
	err = diag || own ? 0 : pg_tcpq_open(&tcpq, &error);
	if (!err)
		err = own	  ? dump_own(most, &error)
		      : times > 0 ? measure(tcpq, times, &error)
				  : dump(tcpq, most, &error);
	if (err)
		fprintf(stderr, "tcpq_dump: %s\n", error.text[0] ? error.text : strerror(-err));
	pg_tcpq_free(tcpq);
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
