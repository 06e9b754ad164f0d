// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "cleanup.h"
#include "demo.h"
#include "output.h"
#include "pins.h"
#include "request.h"

#define START_MS 10000
#define STOP_MS	 5000
#define FREE_MS	 3000 /* for the kernel to free the program of a removed namespace */
#define STEP_MS	 10

static void pause_ms(int ms)
{
	struct timespec time = { .tv_nsec = ms * 1000000l };

	nanosleep(&time, NULL);
}

/* --- its folder ----------------------------------------------------------------------------- */

static int write_config(const struct demo_agent *agent, const struct demo_net *net,
			struct pg_error *error)
{
	PG_FCLOSE FILE *file = fopen(agent->config, "we");

	if (!file)
		return pg_error_set(error, -errno, "write %s: %s", agent->config, strerror(errno));
	fprintf(file,
		"instance: %s\n"
		"interfaces: [" DEMO_SERVER_IF "]\n"
		"endpoints:\n"
		"  - { name: game, port: %d, guard: on, roaming: off, deliver: app }\n"
		"  - { name: lan, port: %d, guard: off, roaming: off, deliver: app }\n"
		"  - { name: chat, port: %d, roaming: off, deliver: app, format: message }\n"
		"tcp_entrances:\n"
		"  - { name: chat-tcp, endpoint: chat, address: " DEMO_SERVER ", port: %d }\n"
		"app: { socket: %s, group: root, mode: \"0600\" }\n"
		"control: { socket: %s, group: root, mode: \"0600\" }\n"
		"metrics: { listen: 127.0.0.1:%d }\n"
		"state: { directory: %s/state }\n"
		"tcp: { namespaces: [%s, %s] }\n"
		"limits: { sessions: 4096, streams: 4096, unmatched_per_source_per_second: %d }\n",
		agent->instance, DEMO_GAME_PORT, DEMO_LAN_PORT, DEMO_CHAT_PORT, DEMO_CHAT_PORT,
		agent->app, agent->control, DEMO_METRICS_PORT, agent->directory, net->server,
		net->client, DEMO_UNMATCHED);
	return fflush(file) ? pg_error_set(error, -errno, "write %s", agent->config) : 0;
}

static int make_folder(struct demo_agent *agent, const struct demo_net *net, struct pg_error *error)
{
	char path[] = "/tmp/packgate-demo-XXXXXX";

	if (!mkdtemp(path))
		return pg_error_set(error, -errno, "make a folder below /tmp: %s", strerror(errno));
	snprintf(agent->directory, sizeof(agent->directory), "%s", path);
	snprintf(agent->instance, sizeof(agent->instance), "demo-%d", getpid());
	snprintf(agent->control, sizeof(agent->control), "%s/control.sock", path);
	snprintf(agent->app, sizeof(agent->app), "%s/app.sock", path);
	snprintf(agent->config, sizeof(agent->config), "%s/packgate.yaml", path);
	snprintf(agent->log, sizeof(agent->log), "%s/packgated.log", path);
	return write_config(agent, net, error);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	remove(path);
	return 0;
}

/* --- its process ---------------------------------------------------------------------------- */

static int find_binary(char path[PATH_MAX], struct pg_error *error)
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof("/packgated"));
	char *slash;

	if (n < 0)
		return pg_error_set(error, -errno, "find the own binary: %s", strerror(errno));
	path[n] = 0;
	slash = strrchr(path, '/');
	strcpy(slash ? slash : path, "/packgated");
	if (access(path, X_OK))
		return pg_error_set(error, -errno, "run %s: %s; build it with `make`", path,
				    strerror(errno));
	return 0;
}

/* In the child: dies with its parent, hears no Ctrl-C of the terminal. */
static void exec_agent(const struct demo_agent *agent, const struct demo_net *net, char *binary,
		       pid_t parent)
{
	int log = open(agent->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char config[96], *argv[] = { binary, "--config", config, NULL };
	sigset_t none;

	snprintf(config, sizeof(config), "%s", agent->config);
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || log < 0)
		_exit(127);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
	if (demo_net_enter(net->server))
		_exit(127);
	execv(binary, argv);
	_exit(127);
}

const char *demo_agent_last_words(const struct demo_agent *agent, char text[DEMO_WORDS_MAX])
{
	PG_FCLOSE FILE *file = fopen(agent->log, "re");
	char line[DEMO_WORDS_MAX];

	strcpy(text, "nothing");
	while (file && fgets(line, sizeof(line), file))
		if (line[0] != '\n')
			strcpy(text, line);
	text[strcspn(text, "\n")] = 0;
	return text;
}

static bool ended(struct demo_agent *agent)
{
	if (agent->pid && waitpid(agent->pid, &agent->exit_status, WNOHANG) == agent->pid)
		agent->pid = 0;
	return !agent->pid;
}

/* Whether every gate is attached; remembers how. */
static bool attached(struct demo_agent *agent)
{
	struct request request = { .path = "/v1/status" };
	const json_t *row;
	ANSWER answer = { 0 };

	if (request_quietly(&request, &answer))
		return false;
	row = json_array_get(json_object_get(answer.root, "interfaces"), 0);
	snprintf(agent->mode, sizeof(agent->mode), "%s", json_text(row, "mode"));
	snprintf(agent->why, sizeof(agent->why), "%s", json_text(row, "why"));
	agent->program_id = (uint32_t)json_int(row, "program_id");
	agent->queues = (uint32_t)json_int(row, "queues");
	return json_flag(answer.root, "all_attached");
}

int demo_agent_start(struct demo_agent *agent, const struct demo_net *net, struct pg_error *error)
{
	char binary[PATH_MAX], text[DEMO_WORDS_MAX];
	pid_t parent = getpid();
	int rc, waited;

	rc = find_binary(binary, error);
	if (!rc)
		rc = make_folder(agent, net, error);
	if (rc)
		return rc;
	cli.control = agent->control;
	agent->pid = fork();
	if (!agent->pid)
		exec_agent(agent, net, binary, parent);
	if (agent->pid < 0) {
		agent->pid = 0;
		return pg_error_set(error, -errno, "start %s: %s", binary, strerror(errno));
	}
	for (waited = 0; waited < START_MS; waited += STEP_MS) {
		if (attached(agent))
			return 0;
		if (demo_stopped())
			return pg_error_set(error, -EINTR, "%s", demo_stopped());
		if (ended(agent))
			return pg_error_set(error, -EIO,
					    "packgated ended at its start; it said: %s",
					    demo_agent_last_words(agent, text));
		pause_ms(STEP_MS);
	}
	return pg_error_set(error, -ETIMEDOUT,
			    "packgated has no gate attached after %d s; it said: %s",
			    START_MS / 1000, demo_agent_last_words(agent, text));
}

/* --- its end -------------------------------------------------------------------------------- */

static bool complain(const char *text)
{
	cli_fail(CLI_FAILED, "demo: %s", text);
	return false;
}

static bool detach(void)
{
	struct request request = { .method = "POST",
				   .path = "/v1/interfaces/" DEMO_SERVER_IF "/detach" };
	ANSWER answer = { 0 };

	if (!request_quietly(&request, &answer))
		return true;
	cli_fail(CLI_FAILED, "demo: detach the gate: %s", answer.why);
	return false;
}

static bool end_process(struct demo_agent *agent)
{
	int waited;

	kill(agent->pid, SIGTERM);
	for (waited = 0; !ended(agent) && waited < STOP_MS; waited += STEP_MS)
		pause_ms(STEP_MS);
	if (!agent->pid)
		return !agent->mode[0] || !agent->exit_status ||
		       complain("packgated did not end cleanly");
	kill(agent->pid, SIGKILL);
	waitpid(agent->pid, NULL, 0);
	agent->pid = 0;
	return complain("packgated did not end in time after SIGTERM and was killed");
}

static bool remove_pins(const struct demo_agent *agent)
{
	struct pg_error error = { "" };
	int rc;

	rc = pg_pins_remove_interface(agent->instance, DEMO_SERVER_IF, &error);
	if (!rc || rc == -ENOENT)
		rc = pg_pins_remove_instance(agent->instance, &error);
	return !rc || rc == -ENOENT || complain(error.text);
}

bool demo_agent_stop(struct demo_agent *agent)
{
	bool good = true;

	if (!agent->directory[0])
		return true;
	if (agent->mode[0])
		good = ended(agent) ? complain("packgated ended by itself") : detach();
	if (!ended(agent))
		good = end_process(agent) && good;
	good = remove_pins(agent) && good;
	nftw(agent->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return good;
}

static bool program_lives(uint32_t id)
{
	PG_CLOSE int fd = id ? bpf_prog_get_fd_by_id(id) : -1;

	return fd >= 0;
}

int demo_agent_left(const struct demo_agent *agent, struct pg_error *error)
{
	char pins[96];
	int waited;

	snprintf(pins, sizeof(pins), PG_PINS_ROOT "/%s", agent->instance);
	for (waited = 0; program_lives(agent->program_id) && waited < FREE_MS; waited += STEP_MS)
		pause_ms(STEP_MS);
	if (agent->pid)
		return pg_error_set(error, -EBUSY, "process %d", agent->pid);
	if (agent->instance[0] && !access(pins, F_OK))
		return pg_error_set(error, -EBUSY, "pins below %s", pins);
	if (program_lives(agent->program_id))
		return pg_error_set(error, -EBUSY, "BPF program %u", agent->program_id);
	if (agent->directory[0] && !access(agent->directory, F_OK))
		return pg_error_set(error, -EBUSY, "folder %s", agent->directory);
	return 0;
}

/* --- what it counts ------------------------------------------------------------------------- */

static const struct {
	enum pg_drop number;
	const char *label, *help;
} reasons[] = {
#define PG_X(name, number, label, help) { PG_DROP_##name, label, help },
	PG_DROPS(PG_X)
#undef PG_X
};

#define REASONS (sizeof(reasons) / sizeof(reasons[0]))

const char *demo_reason_label(enum pg_drop reason)
{
	size_t i;

	for (i = 0; i < REASONS; i++)
		if (reasons[i].number == reason)
			return reasons[i].label;
	return "unknown";
}

const char *demo_reason_help(enum pg_drop reason)
{
	size_t i;

	for (i = 0; i < REASONS; i++)
		if (reasons[i].number == reason)
			return reasons[i].help;
	return "";
}

static void add_rows(const json_t *rows, const char *key, uint64_t counts[PG_DROP_SLOTS],
		     uint64_t *total)
{
	const json_t *row;
	size_t i, j;

	json_array_foreach (rows, i, row)
		for (j = 0; j < REASONS; j++)
			if (!strcmp(reasons[j].label, json_text(row, "reason"))) {
				counts[reasons[j].number] += (uint64_t)json_int(row, key);
				*total += (uint64_t)json_int(row, key);
			}
}

int demo_agent_counts(struct demo_counts *ret_counts, struct pg_error *error)
{
	struct request request = { .path = "/v1/drops" };
	struct demo_counts counts = { 0 };
	const json_t *interface, *row;
	ANSWER answer = { 0 };
	size_t i;

	if (request_quietly(&request, &answer))
		return pg_error_set(error, -EIO, "ask the agent what it refused: %s", answer.why);
	interface = json_array_get(json_object_get(answer.root, "interfaces"), 0);
	add_rows(json_object_get(interface, "drops"), "packets", counts.gate, &counts.total);
	add_rows(json_object_get(answer.root, "rejected"), "frames", counts.agent, &counts.total);
	json_array_foreach (json_object_get(interface, "counters"), i, row)
		if (!strcmp(json_text(row, "counter"), "duplicates"))
			counts.duplicates = (uint64_t)json_int(row, "packets");
	*ret_counts = counts;
	return 0;
}
