// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "demo_net.h"

#define WORDS_MAX 32

/* In the child; what ip says goes to the pipe. */
static void exec_ip(char **argv, int output)
{
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "%s: %s", argv[0], strerror(errno));
	_exit(127);
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

static void read_text(int fd, char *text, size_t room)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(fd, text + used, room - 1 - used)) > 0 || (n < 0 && errno == EINTR))
		used += n > 0 ? (size_t)n : 0;
	text[used] = 0;
	text[strcspn(text, "\n")] = 0;
}

/* Runs `ip WORDS`, words separated by one space. */
static int ip(struct pg_error *error, const char *words)
{
	char copy[256], text[160], *save = NULL, *argv[WORDS_MAX + 1] = { "ip" };
	int ends[2], rc, n = 1;
	pid_t pid;

	snprintf(copy, sizeof(copy), "%s", words);
	for (char *word = strtok_r(copy, " ", &save); word && n < WORDS_MAX;
	     word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	if (pipe2(ends, O_CLOEXEC))
		return pg_error_set(error, -errno, "run ip %s: %s", words, strerror(errno));
	pid = fork();
	if (!pid)
		exec_ip(argv, ends[1]);
	close(ends[1]);
	text[0] = 0;
	if (pid > 0)
		read_text(ends[0], text, sizeof(text));
	close(ends[0]);
	rc = pid < 0 ? -EAGAIN : wait_for(pid);
	return rc ? pg_error_set(error, rc, "ip %s: %s", words, text) : 0;
}

static int ipf(struct pg_error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int ipf(struct pg_error *error, const char *format, ...)
{
	char words[256];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	return ip(error, words);
}

bool demo_net_exists(const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	return *name && !access(path, F_OK);
}

static int make_namespace(char *name, size_t room, const char *side, bool *made,
			  struct pg_error *error)
{
	int rc;

	snprintf(name, room, "packgate-demo-%d-%s", getpid(), side);
	rc = ipf(error, "netns add %s", name);
	*made = !rc;
	return rc;
}

static int join(const struct demo_net *net, struct pg_error *error)
{
	return ipf(error,
		   "link add " DEMO_CLIENT_IF " netns %s numtxqueues " DEMO_QUEUES
		   " numrxqueues " DEMO_QUEUES " type veth peer name " DEMO_SERVER_IF
		   " netns %s numtxqueues " DEMO_QUEUES " numrxqueues " DEMO_QUEUES,
		   net->client, net->server);
}

static int bring_up(const char *name, const char *interface, const char *address,
		    struct pg_error *error)
{
	int rc;

	rc = ipf(error, "-n %s addr add %s/24 dev %s", name, address, interface);
	if (!rc)
		rc = ipf(error, "-n %s link set lo up", name);
	return rc ? rc : ipf(error, "-n %s link set %s up", name, interface);
}

int demo_net_open(struct demo_net *net, struct pg_error *error)
{
	int rc;

	rc = make_namespace(net->server, sizeof(net->server), "server", &net->server_made, error);
	if (!rc)
		rc = make_namespace(net->client, sizeof(net->client), "client", &net->client_made,
				    error);
	if (!rc)
		rc = join(net, error);
	if (!rc)
		rc = bring_up(net->server, DEMO_SERVER_IF, DEMO_SERVER, error);
	if (!rc)
		rc = bring_up(net->client, DEMO_CLIENT_IF, DEMO_CLIENT, error);
	return rc ? rc
		  : ipf(error, "-n %s addr add %s/24 dev %s", net->client, DEMO_STRANGER,
			DEMO_CLIENT_IF);
}

void demo_net_close(struct demo_net *net)
{
	if (net->client_made)
		ipf(NULL, "netns del %s", net->client);
	if (net->server_made)
		ipf(NULL, "netns del %s", net->server);
	net->client_made = net->server_made = false;
}

int demo_net_enter(const char *name)
{
	PG_CLOSE int fd = -1;
	char path[96];

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		return -errno;
	return 0;
}

struct sockaddr_in demo_net_address(const char *address, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, address, &to.sin_addr);
	return to;
}

static int bind_socket(int fd, const char *address, uint16_t port)
{
	struct sockaddr_in at = demo_net_address(address, port);

	return bind(fd, (struct sockaddr *)&at, sizeof(at)) ? -errno : 0;
}

int demo_net_socket(const char *name, int type, const char *address, uint16_t port, int *ret_fd,
		    struct pg_error *error)
{
	PG_CLOSE int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	PG_CLOSE int fd = -1;
	int rc;

	if (home < 0)
		return pg_error_set(error, -errno, "open the own namespace: %s", strerror(errno));
	rc = demo_net_enter(name);
	if (rc)
		return pg_error_set(error, rc, "enter namespace %s: %s", name, strerror(-rc));
	fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = fd < 0 ? -errno : bind_socket(fd, address, port);
	if (setns(home, CLONE_NEWNET))
		return pg_error_set(error, -errno, "leave namespace %s: %s", name, strerror(errno));
	if (rc)
		return pg_error_set(error, rc, "open a socket at %s:%u in %s: %s", address, port,
				    name, strerror(-rc));
	*ret_fd = TAKE_FD(fd);
	return 0;
}
