// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "cleanup.h"
#include "http_listen.h"

#define BACKLOG 128

static int fail(struct pg_error *error, int code, const char *what, const char *path)
{
	return pg_error_set(error, code, "%s %s: %s", what, path, strerror(-code));
}

static int make_folder(const char *path, struct pg_error *error)
{
	PG_FREE char *folder = strdup(path);
	char *slash;

	if (!folder)
		return fail(error, -ENOMEM, "listen on", path);
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = 0;
	if (mkdir(folder, 0755) && errno != EEXIST)
		return fail(error, -errno, "make the folder", folder);
	return 0;
}

/* Whether a process answers on the socket file. */
static int probe(const struct sockaddr_un *address, int type)
{
	PG_CLOSE int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)address, sizeof(*address)) || errno == EAGAIN)
		return -EADDRINUSE;
	return errno == ECONNREFUSED ? 0 : -errno;
}

static int remove_stale(const struct sockaddr_un *address, int type, struct pg_error *error)
{
	const char *path = address->sun_path;
	struct stat st;
	int rc;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : fail(error, -errno, "look at", path);
	if (!S_ISSOCK(st.st_mode))
		return pg_error_set(error, -EEXIST,
				    "%s is a file that is not a socket; remove it or configure "
				    "another path",
				    path);
	rc = probe(address, type);
	if (rc == -EADDRINUSE)
		return pg_error_set(error, rc,
				    "a running process answers on %s; stop it or configure another "
				    "path",
				    path);
	if (rc)
		return fail(error, rc, "find out who listens on", path);
	if (unlink(path))
		return fail(error, -errno, "remove the stale socket", path);
	return 0;
}

/* -1 as the group leaves it unchanged. */
static int find_group(const char *name, gid_t *ret_gid)
{
	struct group entry, *found = NULL;
	char buffer[4096], *end;
	unsigned long number;

	*ret_gid = (gid_t)-1;
	if (!name || !*name)
		return 0;
	number = strtoul(name, &end, 10);
	if (!*end && number < (gid_t)-1) {
		*ret_gid = (gid_t)number;
		return 0;
	}
	if (getgrnam_r(name, &entry, buffer, sizeof(buffer), &found) || !found)
		return -ENOENT;
	*ret_gid = entry.gr_gid;
	return 0;
}

static int set_owner(const char *path, const char *group, mode_t mode, struct pg_error *warning,
		     struct pg_error *error)
{
	gid_t gid;

	pg_error_set(warning, 0, "%s", "");
	if (find_group(group, &gid))
		pg_error_set(warning, 0,
			     "group %s does not exist, %s keeps the group of the agent; make the "
			     "group or configure another one",
			     group, path);
	if (gid != (gid_t)-1 && chown(path, (uid_t)-1, gid))
		return pg_error_set(error, -errno, "give %s to the group %s: %s", path, group,
				    strerror(errno));
	if (chmod(path, mode & 0777))
		return fail(error, -errno, "set the mode of", path);
	return 0;
}

int pg_listen_unix(const char *path, int type, const char *group, mode_t mode, int *ret_fd,
		   struct pg_error *warning, struct pg_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	PG_CLOSE int fd = -1;
	int rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return pg_error_set(error, -ENAMETOOLONG,
				    "the socket path %s is longer than %zu bytes", path,
				    sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	rc = make_folder(path, error);
	if (!rc)
		rc = remove_stale(&address, type, error);
	if (rc)
		return rc;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(error, -errno, "listen on", path);
	/* Linux gives the file the mode of the unbound socket: nobody slips in before chmod. */
	if (fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fail(error, -errno, "listen on", path);
	rc = set_owner(path, group, mode, warning, error);
	if (!rc && listen(fd, BACKLOG))
		rc = fail(error, -errno, "listen on", path);
	if (rc) {
		unlink(path);
		return rc;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

void pg_listen_unlink(const char *path, const struct stat *made)
{
	struct stat st;

	if (!lstat(path, &st) && st.st_dev == made->st_dev && st.st_ino == made->st_ino)
		unlink(path);
}

static socklen_t fill_address(const struct pg_peer *peer, struct sockaddr_storage *storage)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)storage;
	struct sockaddr_in *v4 = (struct sockaddr_in *)storage;

	memset(storage, 0, sizeof(*storage));
	if (pg_address_is_ipv4(&peer->address)) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(peer->port);
		memcpy(&v4->sin_addr, peer->address.bytes + 12, 4);
		return sizeof(*v4);
	}
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(peer->port);
	memcpy(&v6->sin6_addr, peer->address.bytes, 16);
	return sizeof(*v6);
}

int pg_listen_tcp(const struct pg_peer *address, int *ret_fd, struct pg_error *error)
{
	struct sockaddr_storage storage;
	socklen_t bytes = fill_address(address, &storage);
	char text[PG_PEER_TEXT];
	PG_CLOSE int fd = -1;
	int on = 1;

	pg_address_print_peer(address, text);
	fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(error, -errno, "listen on", text);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (storage.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&storage, bytes) || listen(fd, BACKLOG))
		return pg_error_set(error, -errno, "listen on %s: %s%s", text, strerror(errno),
				    errno == EADDRINUSE ? "; 'ss -ltnp' names who has the port, "
							  "configure another"
							: "");
	*ret_fd = TAKE_FD(fd);
	return 0;
}
