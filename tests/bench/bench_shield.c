// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What a SYN costs: the kernel's own answer, and the gate's with either cookie. Live frames, each
 * SYN from another source, cross a veth to a listener; everything runs on one core, the rows in
 * turn, and what it costs to write, carry and drop a frame is taken off. The gate is attached in
 * every row: for the kernel's, its shield is off. No connection is open, so marks of none are
 * whole.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "live_frames.h"
#include "packgate/shield.h"
#include "syn_frame.h"

#include "drop.skel.h"
#include "gate.skel.h"
#include "report.h"
#include "shield_counts.h"

#define SERVER_IF    "pgb0"
#define CLIENT_IF    "pgb1"
#define SERVER_MAC   "02:00:00:00:00:01"
#define CLIENT_MAC   "02:00:00:00:00:02"
#define PORT	     4443
#define BACKLOG	     (1 << 20) /* so that the kernel queues a round's SYNs, where it may */
#define ROUNDS	     9
#define SPOILED_MAX  9	       /* rounds of a row that others' work may spoil */
#define REPEAT	     (1 << 18) /* SYNs a round */
#define REPEAT_QUEUE (1 << 16) /* where the kernel keeps each */
#define SLOT	     0
#define MTU	     1500

static struct {
	struct gate_bpf *gate;
	struct syn_bpf *syn;
	struct drop_bpf *sink;
	struct pg_shield_env *env;
	int counts;
	uint32_t client, server;
	int link; /* at the server's end */
} bench;

static void die(const char *what, int err)
{
	fprintf(stderr, "bench_shield: %s: %s\n", what, strerror(err < 0 ? -err : err));
	exit(1);
}

/* --- the namespace: it ends with this process --------------------------------------------------
 */

static void run(const char *command)
{
	if (system(command))
		die(command, EIO);
}

static void set_sysctl(const char *name, int value)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	file = fopen(path, "we");
	if (!file || fprintf(file, "%d", value) < 0 || fclose(file))
		die(path, errno);
}

/* Sources are routed back to the client's end, which drops what comes. */
static void make_network(void)
{
	static const char *const commands[] = {
		"ip link set lo up",
		"ip link add " SERVER_IF " address " SERVER_MAC " type veth peer name " CLIENT_IF
		" address " CLIENT_MAC,
		"ip addr add 10.78.0.1/24 dev " SERVER_IF,
		"ip addr add fd78::1/64 dev " SERVER_IF " nodad",
		"ip link set " SERVER_IF " up",
		"ip link set " CLIENT_IF " up",
		"ip neigh replace 10.78.0.2 lladdr " CLIENT_MAC " dev " SERVER_IF " nud permanent",
		"ip neigh replace fd78::2 lladdr " CLIENT_MAC " dev " SERVER_IF " nud permanent",
		"ip route add default via 10.78.0.2",
		"ip route add fd88::/16 via fd78::2",
	};

	if (unshare(CLONE_NEWNET))
		die("making a network namespace", errno);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		run(commands[i]);
	bench.client = if_nametoindex(CLIENT_IF);
	bench.server = if_nametoindex(SERVER_IF);
}

/* Anew for each round: with a listener go the requests that it has queued. */
static int listen_on(int family)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	bool is_v4 = family == AF_INET;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!is_v4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (fd < 0 ||
	    bind(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		 is_v4 ? sizeof(v4) : sizeof(v6)) ||
	    listen(fd, BACKLOG))
		die("listening", errno);
	return fd;
}

/* --- the gate, with a shield that is on --------------------------------------------------------
 */

static void *map_memory(struct bpf_map *map)
{
	size_t bytes = (size_t)((bpf_map__value_size(map) + 7) & ~7u) * bpf_map__max_entries(map);
	void *memory = mmap(NULL, (bytes + 4095) & ~4095ul, PROT_READ | PROT_WRITE, MAP_SHARED,
			    bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		die("mapping a map", errno);
	return memory;
}

static void set_shield(uint32_t index, int family, const char *address, uint32_t next)
{
	struct pg_shield *shields = map_memory(bench.gate->maps.pg_shields);
	uint8_t bytes[16] = { [10] = 0xff, [11] = 0xff };

	inet_pton(family == 4 ? AF_INET : AF_INET6, address, family == 4 ? bytes + 12 : bytes);
	shields[index] = (struct pg_shield){ .port = PORT,
					     .next = (uint8_t)next,
					     .family = (uint8_t)family,
					     .mode = PG_SHIELD_ON,
					     .threshold = 50,
					     .origin = PG_SHIELD_CONTROL };
	memcpy(shields[index].address, bytes, sizeof(bytes));
}

static void open_gate(void)
{
	struct pg_shield_ports *ports;
	int err;

	bench.gate = gate_bpf__open();
	bench.syn = syn_bpf__open_and_load();
	bench.sink = drop_bpf__open_and_load();
	if (!bench.gate || !bench.syn || !bench.sink)
		die("opening the programs", errno);
	bench.gate->rodata->interface_slot = SLOT;
	err = gate_bpf__load(bench.gate);
	if (err)
		die("loading the gate", err);
	ports = map_memory(bench.gate->maps.pg_shield_ports);
	bench.env = map_memory(bench.gate->maps.pg_shield_env);
	bench.counts = bpf_map__fd(bench.gate->maps.pg_shield_count);
	bench.env->mtu[SLOT] = MTU;
	bench.env->window_max = 212992;
	bench.env->tuples = 1; /* no connection is there, so an empty row is whole */
	bench.env->marking = 1;
	set_shield(1, 4, "10.78.0.1", 2);
	set_shield(2, 6, "fd78::1", 0);
	ports->first[PORT] = 1;
}

/* Either end takes frames only while it runs XDP. */
static void attach(void)
{
	int drop = bpf_program__fd(bench.sink->progs.drop);

	bench.link = bpf_link_create(drop, (int)bench.server, BPF_XDP, NULL);
	if (bench.link < 0 || bpf_link_create(drop, (int)bench.client, BPF_XDP, NULL) < 0)
		die("attaching to the veth", errno);
}

/* --- rows --------------------------------------------------------------------------------------
 */

/* Per SYN, as the kernel times it: without the set-up of the call. */
static double send_syns(uint32_t bytes, uint32_t count)
{
	int program = bpf_program__fd(bench.syn->progs.syn), err;
	uint32_t ns = 0;

	err = live_frames_run(program, bench.client, bytes, count, &ns);
	if (err)
		die("sending SYNs", err);
	return ns;
}

/* By the gate. */
static uint64_t cookies_made(void)
{
	return shield_counts(bench.counts, 1).cookies + shield_counts(bench.counts, 2).cookies;
}

/* By the kernel: the first number of TcpExt. */
static uint64_t cookies_sent(void)
{
	unsigned long long sent = 0;
	FILE *file = fopen("/proc/net/netstat", "re");
	char line[8192];
	bool names = true;

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "TcpExt: ", 8))
			continue;
		if (!names && sscanf(line, "TcpExt: %llu", &sent) == 1)
			break;
		names = false;
	}
	if (file)
		fclose(file);
	return sent;
}

enum row { FLOOR, COOKIE, OWN, HELPER, QUEUE, ROWS };

static void set_up(enum row row)
{
	static const enum pg_shield_way ways[ROWS] = {
		[OWN] = PG_SHIELD_WAY_OWN, [HELPER] = PG_SHIELD_WAY_KERNEL
	};
	int program = row == FLOOR ? bpf_program__fd(bench.sink->progs.drop)
				   : bpf_program__fd(bench.gate->progs.pg_gate);

	set_sysctl("ipv4/tcp_syncookies", row == QUEUE ? 0 : 2);
	set_sysctl("ipv4/tcp_timestamps", row == HELPER ? 2 : 1);
	bench.env->way[SLOT] = ways[row];
	if (bpf_link_update(bench.link, program, NULL))
		die("swapping the program at the server's end", errno);
}

/*
 * Per SYN. Nearly all that was sent must have been answered by the one that the row names; negative
 * where it was not: the machine's other work has made a queue overflow on the way.
 */
static double try_round(enum row row, int family, uint32_t bytes)
{
	int listener = listen_on(family == 4 ? AF_INET : AF_INET6);
	uint64_t gate = cookies_made(), kernel = cookies_sent(), answered;
	uint32_t count = row == QUEUE ? REPEAT_QUEUE : REPEAT;
	double ns;

	set_up(row);
	ns = send_syns(bytes, count);
	close(listener);
	gate = cookies_made() - gate;
	kernel = cookies_sent() - kernel;
	answered = row == COOKIE ? kernel : row == OWN || row == HELPER ? gate : count;
	return answered < count / 100 * 99 || (row != COOKIE && kernel) ? -1 : ns;
}

static double measure(enum row row, int family, uint32_t bytes)
{
	static int spoiled[ROWS];
	double ns;

	do {
		ns = try_round(row, family, bytes);
		if (ns < 0 && ++spoiled[row] > SPOILED_MAX)
			die("SYNs were answered by another than the row says", EIO);
	} while (ns < 0);
	return ns;
}

static const struct {
	const char *key, *label;
} names[ROWS] = {
	[QUEUE] = { "queue", "the kernel queues it" },
	[COOKIE] = { "cookie", "the kernel answers by a cookie" },
	[OWN] = { "own", "the gate's own cookie" },
	[HELPER] = { "helper", "the kernel's cookie, made in the gate" },
};

static void report_ratio(int family, const double *ns, enum row slow, enum row fast)
{
	char key[64], label[96];

	snprintf(key, sizeof(key), "syn_%s_over_%s_v%d", names[slow].key, names[fast].key, family);
	snprintf(label, sizeof(label), "SYN, IPv%d: kernel's %s / %s", family, names[slow].key,
		 names[fast].key);
	report_value(key, (ns[slow] - ns[FLOOR]) / (ns[fast] - ns[FLOOR]), "x", label);
}

static void report(int family, const double *ns)
{
	char label[96];

	report_note("a SYN over IPv%d: to write, carry and drop it takes %.0f ns", family,
		    ns[FLOOR]);
	for (int row = COOKIE; row < ROWS; row++) {
		snprintf(label, sizeof(label), "SYN, IPv%d: %s", family, names[row].label);
		report_value("-", ns[row] - ns[FLOOR], "ns", label);
	}
	for (int fast = OWN; fast <= HELPER; fast++) {
		report_ratio(family, ns, QUEUE, fast);
		report_ratio(family, ns, COOKIE, fast);
	}
}

/* The round that the machine's other work disturbed least. */
static double least(const double *values)
{
	double best = values[0];

	for (int i = 1; i < ROUNDS; i++)
		best = values[i] < best ? values[i] : best;
	return best;
}

static void measure_rows(int family, enum row first, enum row last, double *ret_ns)
{
	static const uint8_t server[6] = { 2, 0, 0, 0, 0, 1 }, client[6] = { 2, 0, 0, 0, 0, 2 };
	const char *target = family == 4 ? "10.78.0.1" : "fd78::1";
	double values[ROWS][ROUNDS];
	uint32_t bytes = syn_frame_fill(bench.syn->bss, family, client, server, target, PORT);

	for (int round = 0; round < ROUNDS; round++)
		for (enum row row = first; row <= last; row++)
			values[row][round] = measure(row, family, bytes);
	for (enum row row = first; row <= last; row++)
		ret_ns[row] = least(values[row]);
}

/* Requests outlive their listener for a while, and would be found by every later look-up. */
static void measure_all(void)
{
	double ns[2][ROWS];

	for (int i = 0; i < 2; i++)
		measure_rows(i ? 6 : 4, FLOOR, HELPER, ns[i]);
	for (int i = 0; i < 2; i++)
		measure_rows(i ? 6 : 4, QUEUE, QUEUE, ns[i]);
	for (int i = 0; i < 2; i++)
		report(i ? 6 : 4, ns[i]);
}

int main(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	make_network();
	set_sysctl("core/somaxconn", BACKLOG);
	set_sysctl("ipv4/tcp_max_syn_backlog", BACKLOG);
	open_gate();
	attach();
	measure_all();
	return 0;
}
