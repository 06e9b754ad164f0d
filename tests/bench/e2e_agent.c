// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* packgated as it is, over AF_XDP: an own instance, folder and set of sessions for every start. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "e2e.h"

#define START_MS 10000
#define STOP_MS	 5000

const char *bench_build;

static struct {
	char instance[32];
	char directory[64]; /* "" = none */
	uint32_t starts;
} agent;

/* --- its folder --------------------------------------------------------------------------------
 */

static FILE *create(const char *name)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", agent.directory, name);
	file = fopen(path, "we");
	if (!file)
		bench_die("writing %s: %s", path, strerror(errno));
	return file;
}

static void write_config(const struct bench_net *net, enum bench_deliver deliver)
{
	PG_FCLOSE FILE *file = create("packgate.yaml");

	fprintf(file,
		"instance: %s\n"
		"interfaces: [%s]\n"
		"endpoints:\n"
		"  - { name: bench, port: %d, guard: on, policy: monotonic, roaming: off, deliver: "
		"%s }\n"
		"app: { socket: %s/app.sock, group: root, mode: \"0600\" }\n"
		"control: { socket: %s/control.sock, group: root, mode: \"0600\" }\n"
		"metrics: { listen: off }\n"
		"state: { directory: %s/state }\n"
		"tcp: { namespaces: [own] }\n"
		"limits: { sessions: 65536, streams: 1024 }\n",
		agent.instance, net->server_if, SERVER_PORT,
		deliver == BENCH_ECHO ? "echo" : "discard", agent.directory, agent.directory,
		agent.directory);
}

static void write_sessions(void)
{
	PG_FCLOSE FILE *file = create("sessions");

	for (int i = 0; i < SESSIONS; i++) {
		const struct bench_session *session = &bench_sessions[i];

		fprintf(file,
			"{\"endpoint\": \"bench\", \"client_id\": %u, \"server_id\": %u, "
			"\"peer\": \"" CLIENT_IP ":%u\", \"aead\": \"aes-256-gcm\", \"secret\": \"",
			session->id >> 16, session->id & 0xffff, session->port);
		for (size_t k = 0; k < sizeof(session->secret); k++)
			fprintf(file, "%02x", session->secret[k]);
		fprintf(file, "\"}\n");
	}
}

static void make_folder(const struct bench_net *net, enum bench_deliver deliver)
{
	char path[] = "/tmp/packgate-bench-XXXXXX";

	if (!mkdtemp(path))
		bench_die("making a folder: %s", strerror(errno));
	snprintf(agent.directory, sizeof(agent.directory), "%s", path);
	snprintf(agent.instance, sizeof(agent.instance), "bench-%d-%u", getpid(), agent.starts++);
	write_config(net, deliver);
	write_sessions();
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
	remove(path);
	return 0;
}

/* The folder and the pins; with its pin the link goes, and with the link the gate. */
static void remove_traces(void)
{
	char pins[96];

	if (!agent.directory[0])
		return;
	snprintf(pins, sizeof(pins), "/sys/fs/bpf/packgate/%s", agent.instance);
	nftw(pins, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	nftw(agent.directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	agent.directory[0] = 0;
}

/* --- its process -------------------------------------------------------------------------------
 */

static void exec_agent(const struct bench_net *net)
{
	char binary[PATH_MAX], config[96], log[96];
	char *argv[] = { binary, (char *)"--config", config, NULL };
	int fd;

	snprintf(binary, sizeof(binary), "%s/packgated", bench_build);
	snprintf(config, sizeof(config), "%s/packgate.yaml", agent.directory);
	snprintf(log, sizeof(log), "%s/log", agent.directory);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	bench_net_enter(net->server);
	bench_stand_alone();
	execv(binary, argv);
	_exit(127);
}

static int packgate(const char *verb)
{
	char command[PATH_MAX + 256];

	snprintf(command, sizeof(command),
		 "%s/packgate --control %s/control.sock %s >/dev/null 2>&1", bench_build,
		 agent.directory, verb);
	return system(command);
}

static void show_log(void)
{
	char command[128];

	snprintf(command, sizeof(command), "tail -n 20 %s/log >&2", agent.directory);
	if (system(command))
		fprintf(stderr, "its log cannot be read\n");
}

static void wait_until_attached(struct bench_server *server)
{
	for (int waited = 0; waited < START_MS; waited += 20) {
		if (!packgate("status"))
			return;
		if (waitpid(server->pid, NULL, WNOHANG)) {
			server->pid = 0;
			break;
		}
		usleep(20000);
	}
	show_log();
	bench_die("packgated attached no gate");
}

static void start(struct bench_server *server, const struct bench_net *net,
		  enum bench_deliver deliver)
{
	char verb[128];

	make_folder(net, deliver);
	server->pid = fork();
	if (!server->pid)
		exec_agent(net);
	if (server->pid < 0)
		bench_die("starting packgated: %s", strerror(errno));
	wait_until_attached(server);
	snprintf(verb, sizeof(verb), "session add --from %s/sessions", agent.directory);
	if (packgate(verb)) {
		show_log();
		bench_die("packgate session add failed");
	}
}

static void stop(struct bench_server *server)
{
	if (server->pid > 0) {
		kill(server->pid, SIGTERM);
		for (int waited = 0; waited < STOP_MS && !waitpid(server->pid, NULL, WNOHANG);
		     waited += 5)
			usleep(5000);
		kill(server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
		server->pid = 0;
	}
	remove_traces();
}

/* --- its counters ------------------------------------------------------------------------------
 */

static uint64_t opened(struct bench_server *server)
{
	static const char name[] = "packgate_frames_opened_total ";
	char command[PATH_MAX + 256], line[512];
	unsigned long long value = 0;
	bool found = false;
	FILE *file;

	snprintf(command, sizeof(command), "%s/packgate --control %s/control.sock metrics",
		 bench_build, agent.directory);
	file = popen(command, "r");
	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) &&
		    sscanf(line + strlen(name), "%llu", &value) == 1)
			found = true;
	if (file)
		pclose(file);
	if (!found)
		bench_die("packgate metrics does not tell the frames opened");
	return value;
}

struct bench_server bench_agent = {
	.name = "packgated, AF_XDP",
	.start = start,
	.stop = stop,
	.opened = opened,
};
