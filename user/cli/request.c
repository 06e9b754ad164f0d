// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <curl/curl.h>

#include "output.h"
#include "request.h"

#define WAIT_SECONDS 60 /* for an answer; attaching takes its time */

struct collector {
	const struct request *request;
	CURL *curl;
	char *bytes;
	size_t count, room;
	bool stopped;
};

void answer_done(struct answer *answer)
{
	free(answer->text);
	json_decref(answer->root);
}

static bool append(struct collector *collector, const char *bytes, size_t n)
{
	size_t room = collector->room ? collector->room : 4096;
	char *grown;

	while (room < collector->count + n + 1)
		room *= 2;
	if (room != collector->room) {
		grown = realloc(collector->bytes, room);
		if (!grown)
			return false;
		collector->bytes = grown;
		collector->room = room;
	}
	memcpy(collector->bytes + collector->count, bytes, n);
	collector->count += n;
	collector->bytes[collector->count] = 0;
	return true;
}

static void hand_over_lines(struct collector *collector)
{
	char *line = collector->bytes, *newline;

	while (!collector->stopped && (newline = strchr(line, '\n'))) {
		*newline = 0;
		collector->stopped = !collector->request->line(line, collector->request->context);
		line = newline + 1;
	}
	collector->count -= (size_t)(line - collector->bytes);
	memmove(collector->bytes, line, collector->count + 1);
}

static size_t receive(char *bytes, size_t one, size_t count, void *context)
{
	struct collector *collector = context;
	long status = 0;

	if (!append(collector, bytes, count))
		return 0;
	curl_easy_getinfo(collector->curl, CURLINFO_RESPONSE_CODE, &status);
	if (collector->request->line && status == 200)
		hand_over_lines(collector);
	return collector->stopped ? 0 : count;
}

static void set_options(CURL *curl, const struct request *request, struct collector *collector,
			struct curl_slist *headers, char *url)
{
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, cli.control);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1l);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, request->line ? 0l : (long)WAIT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, collector);
	if (request->method)
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
	if (!request->body)
		return;
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_bytes);
}

static int unreachable(struct answer *answer, CURL *curl, CURLcode code)
{
	long number = 0;

	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
	if (code != CURLE_COULDNT_CONNECT)
		number = 0;
	snprintf(answer->why, sizeof(answer->why), "no agent answers on %s: %s; %s", cli.control,
		 number ? strerror((int)number) : curl_easy_strerror(code),
		 number == EACCES ? "run as root, or join the group of `control: { group: ... }`"
				  : "is packgated running? --control or PACKGATE_CONTROL name "
				    "another socket");
	return CLI_UNREACHABLE;
}

/* curl would say that it cannot resolve a host. */
static int path_too_long(struct answer *answer)
{
	struct sockaddr_un address;

	if (strlen(cli.control) < sizeof(address.sun_path))
		return CLI_DONE;
	snprintf(answer->why, sizeof(answer->why),
		 "the path of the control socket is too long: a Unix socket's has at most %zu "
		 "bytes",
		 sizeof(address.sun_path) - 1);
	return CLI_USAGE;
}

static int judge(struct answer *answer, CURL *curl, CURLcode code, bool stopped)
{
	const char *sentence;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
	if (code && !(code == CURLE_WRITE_ERROR && stopped))
		return unreachable(answer, curl, code);
	if (answer->text)
		answer->root = json_loadb(answer->text, answer->bytes, 0, NULL);
	if (answer->status >= 200 && answer->status < 300)
		return CLI_DONE;
	sentence = json_text(answer->root, "error");
	snprintf(answer->why, sizeof(answer->why), "%s", *sentence ? sentence : "");
	if (!*sentence)
		snprintf(answer->why, sizeof(answer->why),
			 "the agent answered with HTTP status %ld", answer->status);
	return CLI_FAILED;
}

static int perform(CURL *curl, const struct request *request, struct answer *answer)
{
	const char *type = request->content_type ? request->content_type : "application/json";
	struct collector collector = { .request = request, .curl = curl };
	struct curl_slist *headers = NULL;
	char header[128], *url = NULL;
	CURLcode code;

	snprintf(header, sizeof(header), "Content-Type: %s", type);
	headers = curl_slist_append(headers, header);
	headers = curl_slist_append(headers, "Expect:");
	if (asprintf(&url, "http://packgate%s", request->path) < 0)
		url = NULL;
	set_options(curl, request, &collector, headers, url);
	code = curl_easy_perform(curl);
	answer->text = collector.bytes;
	answer->bytes = collector.count;
	curl_slist_free_all(headers);
	free(url);
	return judge(answer, curl, code, collector.stopped);
}

int request_quietly(const struct request *request, struct answer *ret_answer)
{
	CURL *curl = NULL;
	int rc;

	memset(ret_answer, 0, sizeof(*ret_answer));
	rc = path_too_long(ret_answer);
	if (rc)
		return rc;
	curl = curl_easy_init();
	if (!curl) {
		strcpy(ret_answer->why, "libcurl cannot start");
		return CLI_FAILED;
	}
	rc = perform(curl, request, ret_answer);
	curl_easy_cleanup(curl);
	return rc;
}

int request_send(const char *doing, const struct request *request, struct answer *ret_answer)
{
	int rc = request_quietly(request, ret_answer);

	return rc ? cli_fail(rc, "%s: %s", doing, ret_answer->why) : CLI_DONE;
}

int request_show(const char *doing, const char *path, struct answer *ret_answer)
{
	struct request request = { .path = path };
	int rc = request_send(doing, &request, ret_answer);

	if (rc)
		return rc;
	if (!ret_answer->root)
		return cli_fail(CLI_FAILED, "%s: the agent's answer is not JSON", doing);
	if (!cli.json)
		return CLI_DONE;
	puts(ret_answer->text);
	return CLI_DONE;
}

char *request_escape(const char *text)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~";
	char *out = malloc(3 * strlen(text) + 1), *at = out;

	for (; out && *text; text++)
		at += sprintf(at, strchr(plain, *text) ? "%c" : "%%%02X", (unsigned char)*text);
	if (out)
		*at = 0;
	return out;
}
