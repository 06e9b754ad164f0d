/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLEANUP_H
#define PG_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Owners release what they hold when they leave scope; TAKE_PTR and TAKE_FD move ownership out.
 * An owner is always initialised (NULL or -1).
 */
#define PG_CLEANUP(function) __attribute__((cleanup(function)))

static inline void pg_cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline void pg_cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void pg_cleanup_fclose(FILE **file)
{
	if (*file)
		fclose(*file);
}

#define PG_FREE	  PG_CLEANUP(pg_cleanup_free)
#define PG_CLOSE  PG_CLEANUP(pg_cleanup_close)
#define PG_FCLOSE PG_CLEANUP(pg_cleanup_fclose)

#define TAKE_PTR(pointer)                               \
	({                                              \
		__typeof__(pointer) taken_ = (pointer); \
		(pointer) = NULL;                       \
		taken_;                                 \
	})

#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#endif
