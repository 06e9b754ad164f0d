// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "client_state.h"

#define MAGIC	   "pgclient"
#define VERSION	   1
#define FILE_BYTES 4096
#define BOOT_ID	   "/proc/sys/kernel/random/boot_id"

_Static_assert(sizeof(struct pg_client_memory) == 320, "the file's layout");
_Static_assert(offsetof(struct pg_client_memory, window) % 8 == 0, "words of the window");
_Static_assert(sizeof(struct pg_client_memory) <= FILE_BYTES, "one page");

static int read_boot(char boot[40])
{
	PG_CLOSE int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, boot, 36);

	memset(boot + 36, 0, 4);
	return n == 36 ? 0 : -EIO;
}

/* --- may it be trusted? ------------------------------------------------------------------------
 */

static int check_file(const char *path, int fd, struct stat *ret_st, struct pg_error *error)
{
	struct statfs fs;

	if (fstat(fd, ret_st) || fstatfs(fd, &fs))
		return pg_error_set(error, -errno, "looking at %s: %s", path, strerror(errno));
	if (!S_ISREG(ret_st->st_mode) || ret_st->st_nlink != 1)
		return pg_error_set(error, -EPERM, "%s must be a file with one name", path);
	if (ret_st->st_uid != geteuid() || ret_st->st_mode & 077)
		return pg_error_set(error, -EPERM,
				    "%s must belong to who uses it, and nobody else may read or "
				    "write it (chmod 600)",
				    path);
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC)
		return pg_error_set(error, -EOPNOTSUPP,
				    "%s lies in memory, which forgets at a reboot that packIds "
				    "were used: keep it on a disk",
				    path);
	return 0;
}

static int check_session(const char *path, const struct pg_client_memory *memory,
			 const struct pg_client_state_of *of, const uint8_t *secret_id,
			 struct pg_error *error)
{
	if (memcmp(memory->secret_id, secret_id, sizeof(memory->secret_id)))
		return pg_error_set(error, -EKEYREJECTED, "%s belongs to another secret", path);
	if (memory->session != of->session || memory->aead != of->aead ||
	    memory->policy != of->policy || memory->guard != of->guard)
		return pg_error_set(error, -EKEYREJECTED,
				    "%s is of this secret with other ids, another AEAD, policy or "
				    "guard: a secret serves one session as it was",
				    path);
	if (memory->ended)
		return pg_error_set(error, -EKEYEXPIRED,
				    "the session of %s ended: provision another, with a new "
				    "secret",
				    path);
	return 0;
}

static int check_memory(const char *path, const struct stat *st,
			const struct pg_client_memory *memory, const char *boot,
			struct pg_error *error)
{
	if (st->st_size != FILE_BYTES || memcmp(memory->magic, MAGIC, sizeof(memory->magic)) ||
	    memory->version != VERSION || memory->bytes != sizeof(*memory))
		return pg_error_set(error, -EUCLEAN,
				    "%s is no state file of this version: what was sent cannot be "
				    "known, provision another session with a new secret",
				    path);
	if (memory->inode != st->st_ino)
		return pg_error_set(error, -ESTALE,
				    "%s is a copy: what was sent since is in the original. Use "
				    "that, or provision another session with a new secret",
				    path);
	if (memory->running && memcmp(memory->boot, boot, sizeof(memory->boot)))
		return pg_error_set(error, -ESTALE,
				    "the machine went down while %s was in use: what was sent "
				    "last cannot be known, provision another session with a new "
				    "secret",
				    path);
	return 0;
}

/* --- opening -----------------------------------------------------------------------------------
 */

/* The directory's entry, too, must be there after a reboot. */
static int sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	PG_FREE char *directory =
		slash ? strndup(path, slash > path ? slash - path : 1) : strdup(".");
	PG_CLOSE int fd = -1;

	if (!directory)
		return -ENOMEM;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) ? -errno : 0;
}

static int write_new(const char *path, int fd, const struct stat *st,
		     const struct pg_client_state_of *of, const uint8_t *secret_id,
		     struct pg_error *error)
{
	union {
		struct pg_client_memory memory;
		uint8_t bytes[FILE_BYTES];
	} file = { .memory = {
			   .version = VERSION,
			   .bytes = sizeof(struct pg_client_memory),
			   .inode = st->st_ino,
			   .session = of->session,
			   .aead = of->aead,
			   .policy = of->policy,
			   .guard = of->guard,
		   } };
	int err;

	memcpy(file.memory.magic, MAGIC, sizeof(file.memory.magic));
	memcpy(file.memory.secret_id, secret_id, sizeof(file.memory.secret_id));
	err = pwrite(fd, &file, sizeof(file), 0) != sizeof(file) || fsync(fd) ? -EIO : 0;
	if (!err)
		err = sync_directory(path);
	return err ? pg_error_set(error, err, "writing %s: %s", path, strerror(-err)) : 0;
}

static int open_locked(const char *path, int *ret_fd, struct stat *ret_st, struct pg_error *error)
{
	PG_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return pg_error_set(error, -errno, "opening %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB))
		return pg_error_set(error, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s: %s", path,
				    errno == EWOULDBLOCK ? "another process uses this session now"
							 : strerror(errno));
	err = check_file(path, fd, ret_st, error);
	if (!err)
		*ret_fd = TAKE_FD(fd);
	else if (err == -EOPNOTSUPP && !ret_st->st_size)
		unlink(path); /* made just now, and no use */
	return err;
}

/* From here on a run that does not end in order is known by it. */
static int mark_running(const char *path, struct pg_client_memory *memory, const char *boot,
			struct pg_error *error)
{
	memcpy(memory->boot, boot, sizeof(memory->boot));
	memory->running = 1;
	if (msync(memory, FILE_BYTES, MS_SYNC))
		return pg_error_set(error, -errno, "writing %s: %s", path, strerror(errno));
	return 0;
}

static int map(const char *path, int fd, const struct stat *st,
	       struct pg_client_memory **ret_memory, struct pg_error *error)
{
	void *memory;

	/* a short file would answer with SIGBUS */
	if (st->st_size != FILE_BYTES)
		return check_memory(path, st, NULL, NULL, error);
	memory = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return pg_error_set(error, -errno, "mapping %s: %s", path, strerror(errno));
	*ret_memory = memory;
	return 0;
}

int pg_client_state_open(const char *path, const struct pg_client_state_of *of,
			 struct pg_client_state *ret_state, struct pg_error *error)
{
	struct pg_client_memory *memory = NULL;
	uint8_t secret_id[PG_SECRET_ID_BYTES];
	PG_CLOSE int fd = -1;
	char boot[40];
	struct stat st;
	int err;

	err = pg_keys_secret_id(of->secret, PG_SECRET_BYTES, secret_id);
	if (!err)
		err = read_boot(boot);
	if (err)
		return pg_error_set(error, err, "preparing %s: %s", path, strerror(-err));
	err = open_locked(path, &fd, &st, error);
	if (!err && !st.st_size) {
		err = write_new(path, fd, &st, of, secret_id, error);
		st.st_size = FILE_BYTES;
	}
	if (!err)
		err = map(path, fd, &st, &memory, error);
	if (!err)
		err = check_memory(path, &st, memory, boot, error);
	if (!err)
		err = check_session(path, memory, of, secret_id, error);
	if (!err)
		err = mark_running(path, memory, boot, error);
	if (err) {
		if (memory)
			munmap(memory, FILE_BYTES);
		return err;
	}
	*ret_state = (struct pg_client_state){ .fd = TAKE_FD(fd), .memory = memory };
	return 0;
}

void pg_client_state_close(struct pg_client_state *state)
{
	if (!state->memory)
		return;
	/* counters first: the mark says that they are there */
	if (!msync(state->memory, FILE_BYTES, MS_SYNC)) {
		state->memory->running = 0;
		msync(state->memory, FILE_BYTES, MS_SYNC);
	}
	munmap(state->memory, FILE_BYTES);
	close(state->fd);
	*state = (struct pg_client_state){ .fd = -1 };
}
