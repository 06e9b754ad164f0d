/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CHECK_FILES_H
#define PG_CHECK_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"

/*
 * Reads every file that a configuration names, as the agent will: static keys, tokens and their
 * keys, certificates, the machine key if it exists. Nothing is made or changed.
 *
 * say is called for each finding, with the key of the configuration, the file and the reason in one
 * sentence; wrong: the agent would not start. Returns how many are wrong.
 */
size_t pg_check_files(const struct pg_config *config,
		      void (*say)(void *context, bool wrong, const char *sentence), void *context);

#endif
