/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
#ifndef PG_CLI_COMMANDS_H
#define PG_CLI_COMMANDS_H

#include "cli.h"

/* The verbs; contracts as in struct cli_command. */
int cmd_status(const struct cli_args *args);
int cmd_attach(const struct cli_args *args);
int cmd_confirm(const struct cli_args *args);
int cmd_detach(const struct cli_args *args);
int cmd_reload(const struct cli_args *args);
int cmd_endpoint_list(const struct cli_args *args);
int cmd_entrance_list(const struct cli_args *args);
int cmd_session_add(const struct cli_args *args);
int cmd_session_list(const struct cli_args *args);
int cmd_session_show(const struct cli_args *args);
int cmd_session_close(const struct cli_args *args);
int cmd_stream_list(const struct cli_args *args);
int cmd_listeners(const struct cli_args *args);
int cmd_shield_on(const struct cli_args *args);
int cmd_shield_off(const struct cli_args *args);
int cmd_shield_auto(const struct cli_args *args);
int cmd_shield_status(const struct cli_args *args);
int cmd_drops(const struct cli_args *args);
int cmd_top(const struct cli_args *args);
int cmd_metrics(const struct cli_args *args);
int cmd_keygen(const struct cli_args *args);
int cmd_token_mint(const struct cli_args *args);
int cmd_token_verify(const struct cli_args *args);
int cmd_doctor(const struct cli_args *args);
int cmd_decode(int argc, char **argv);
int cmd_connect(const struct cli_args *args);
int cmd_perf(const struct cli_args *args);
int cmd_ping(int argc, char **argv);
int cmd_demo(int argc, char **argv);

/* Whether a word can be a session's id; says that it is not, and returns CLI_USAGE. */
bool session_is_id(const char *text);
int session_refuse_id(const char *verb, const char *text);

/* `listeners --explain`; each may be NULL. */
int cmd_listeners_explain(const char *netns, const char *port);

#endif
