// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "netns.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define HEX16	    "0123456789abcdef"
#define ID	    HEX16 HEX16 HEX16 HEX16
#define OTHER	    "fedcba9876543210" HEX16 HEX16 HEX16

static const struct container_row {
	const char *name, *text, *id;
} container_rows[] = {
	{ "nothing", "", NULL },
	{ "no container", "0::/system.slice/nginx.service\n", NULL },
	{ "docker, cgroup 1", "12:pids:/docker/" ID "\n", ID },
	{ "docker, cgroup 2", "0::/system.slice/docker-" ID ".scope\n", ID },
	{ "podman", "0::/machine.slice/libpod-" ID ".scope/container\n", ID },
	{ "containerd", "0::/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-" ID ".scope\n",
	  ID },
	{ "containerd, cgroupfs", "0::/kubepods/burstable/pod0123-4567/" ID "\n", ID },
	{ "behind a colon", "3:cpu:/system.slice:docker:" ID "\n", ID },
	{ "no line's end", "0::/docker/" ID, ID },
	{ "the innermost of two", "0::/docker/" OTHER "/docker/" ID "\n", ID },
	{ "the last line", "2:a:/docker/" OTHER "\n1:b:/docker/" ID "\n", ID },
	{ "63 digits", "0::/docker/123456789abcdef" HEX16 HEX16 HEX16 "\n", NULL },
	{ "65 digits", "0::/docker/" ID "0\n", NULL },
	{ "a letter before", "0::/docker/x" ID "\n", NULL },
	{ "a letter behind", "0::/docker/" ID "x\n", NULL },
	{ "a dash behind", "0::/docker/" ID "-x\n", NULL },
	{ "at the very start", ID "\n", NULL },
};

static void test_container(void **state)
{
	char id[PG_NETNS_CONTAINER];
	size_t i;

	for (i = 0; i < COUNT(container_rows); i++) {
		const struct container_row *row = &container_rows[i];
		bool found;

		strcpy(id, "untouched");
		found = pg_netns_container(row->text, strlen(row->text), id);
		if (found != (row->id != NULL) || strcmp(id, row->id ? row->id : "untouched"))
			fail_msg("%s: %s", row->name, id);
	}
}

/* Text cut anywhere is no reason to read behind it. */
static void test_container_cut(void **state)
{
	static const char text[] = "0::/system.slice/docker-" ID ".scope/x\n";
	char id[PG_NETNS_CONTAINER];
	size_t bytes;

	for (bytes = 0; bytes < sizeof(text); bytes++) {
		char *copy = malloc(bytes ? bytes : 1);

		memcpy(copy, text, bytes);
		pg_netns_container(copy, bytes, id);
		free(copy);
	}
}

static void test_words(void **state)
{
	struct pg_netns netns = { .inode = 4711, .name = "blue", .container = ID };

	assert_true(pg_netns_is(&netns, "blue"));
	assert_true(pg_netns_is(&netns, "4711"));
	assert_true(pg_netns_is(&netns, ID));
	assert_false(pg_netns_is(&netns, "blu"));
	assert_false(pg_netns_is(&netns, "04711"));
	assert_false(pg_netns_is(&netns, HEX16));
	assert_false(pg_netns_is(&netns, ""));
	netns.container[0] = '\0';
	assert_false(pg_netns_is(&netns, ""));
}

static uint64_t own_inode(void)
{
	struct stat it;

	assert_int_equal(stat("/proc/thread-self/ns/net", &it), 0);
	return it.st_ino;
}

static void test_own(void **state)
{
	struct pg_error error = { "" };
	struct pg_netns netns;

	if (pg_netns_own(&netns, &error))
		fail_msg("%s", error.text);
	assert_true(netns.own);
	assert_true(netns.inode == own_inode());
	assert_in_range(strlen(netns.name), 1, PG_NETNS_NAME - 1);
}

static void test_list(void **state)
{
	struct pg_error error = { "" };
	struct pg_netns *rows = NULL;
	size_t i, n = 0, cut = 9, own = 0;

	if (pg_netns_list(&rows, &n, &cut, &error))
		fail_msg("%s", error.text);
	assert_int_equal(cut, 0);
	for (i = 0; i < n; i++) {
		own += rows[i].own;
		assert_int_equal(rows[i].own, rows[i].inode == own_inode());
		assert_true(!i || strcmp(rows[i - 1].name, rows[i].name) < 0);
	}
	assert_int_equal(own, 1);
	free(rows);
}

struct seen {
	uint64_t inode[4];
	int err[4];
	size_t count;
};

static void visit(size_t index, int err, void *context)
{
	struct seen *seen = context;

	seen->inode[index] = own_inode();
	seen->err[index] = err;
	seen->count++;
}

/* A path that leads elsewhere or nowhere is a namespace that vanished. */
static void test_vanished(void **state)
{
	struct pg_netns rows[] = {
		{ .inode = 1, .path = "/proc/self/ns/net" },
		{ .inode = 1, .path = "/run/netns/there is none" },
		{ .inode = 1, .path = "/proc/0/ns/net" },
		{ .inode = own_inode(), .path = "not needed", .own = true },
	};
	struct seen seen = { .count = 0 };
	size_t i;

	assert_int_equal(pg_netns_visit(rows, COUNT(rows), visit, &seen), 0);
	assert_int_equal(seen.count, COUNT(rows));
	for (i = 0; i < 3; i++)
		assert_int_equal(seen.err[i], -ENOENT);
	assert_int_equal(seen.err[3], 0);
	assert_true(seen.inode[3] == own_inode());
}

/* The visitor stands elsewhere, the caller never leaves. */
static void test_visit(void **state)
{
	uint64_t before = own_inode();
	struct pg_netns rows[2] = { { .own = true, .inode = before } };
	struct seen seen = { .count = 0 };
	int here = 0;

	snprintf(rows[1].path, sizeof(rows[1].path), "/proc/%d/ns/net", getpid());
	here = unshare(CLONE_NEWNET);
	if (here) {
		print_message("no network namespace can be made here\n");
		skip();
	}
	rows[0].inode = own_inode();
	/* entered through the path like any other */
	rows[1].inode = own_inode();
	assert_int_equal(pg_netns_visit(rows, 2, visit, &seen), 0);
	assert_int_equal(seen.err[0], 0);
	assert_int_equal(seen.err[1], 0);
	assert_true(seen.inode[1] == rows[1].inode);
	assert_true(own_inode() == rows[0].inode);
	assert_true(own_inode() != before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_container), cmocka_unit_test(test_container_cut),
		cmocka_unit_test(test_words),	  cmocka_unit_test(test_own),
		cmocka_unit_test(test_list),	  cmocka_unit_test(test_vanished),
		cmocka_unit_test(test_visit),
	};

	return cmocka_run_group_tests_name("netns", tests, NULL, NULL);
}
