// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "secret_file.h"
#include "tcp_gateway_internal.h"

#define KEY_FILE_BYTES 65536

/* The cause is the first of OpenSSL's errors; what was made of it follows. Empties its queue. */
static const char *openssl_reason(void)
{
	unsigned long code = ERR_get_error();
	const char *why = ERR_reason_error_string(code);

	if (ERR_SYSTEM_ERROR(code))
		why = strerror(ERR_GET_REASON(code));
	ERR_clear_error();
	return why ? why : "OpenSSL gives no reason";
}

/* Why no key could be read from a PEM text; empties the queue. */
static const char *pem_reason(void)
{
	unsigned long code;
	bool locked = false;

	while ((code = ERR_get_error()))
		locked |= ERR_GET_LIB(code) == ERR_LIB_PEM &&
			  ERR_GET_REASON(code) == PEM_R_BAD_PASSWORD_READ;
	return locked ? "it has a passphrase, and nobody is there to be asked"
		      : "there is no private key in PEM in it";
}

static int tls_error(struct pg_error *error, const struct pg_entrance_config *config,
		     const char *what, const char *path, const char *why)
{
	return pg_error_set(error, -EINVAL, "entrance %s: reading the %s %s: %s", config->name,
			    what, path, why);
}

/* Nobody sits at the agent's terminal: a key with a passphrase is one that cannot be read. */
static int no_passphrase(char *room, int bytes, int writing, void *context)
{
	return -1;
}

/* As strict about its mode as about other private keys. */
static int use_key(SSL_CTX *context, const struct pg_entrance_config *config,
		   struct pg_error *error)
{
	EVP_PKEY *key = NULL;
	size_t bytes;
	uint8_t *text;
	BIO *bio;
	int err;

	err = pg_secret_file_read("the key", config->tls.key, true, KEY_FILE_BYTES, &text, &bytes,
				  error);
	if (err)
		return pg_error_prefix(error, err, "entrance %s", config->name);
	bio = BIO_new_mem_buf(text, bytes);
	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	if (!key)
		err = tls_error(error, config, "key", config->tls.key, pem_reason());
	else if (SSL_CTX_use_PrivateKey(context, key) != 1 ||
		 SSL_CTX_check_private_key(context) != 1)
		err = tls_error(error, config, "key", config->tls.key, openssl_reason());
	EVP_PKEY_free(key);
	BIO_free(bio);
	pg_secret_file_free(text, bytes);
	return err;
}

int pg_tcp_tls_context(const struct pg_entrance_config *config, SSL_CTX **ret_context,
		       struct pg_error *error)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int err = 0;

	if (!context)
		return pg_error_set(error, -ENOMEM, "entrance %s: out of memory", config->name);
	ERR_clear_error();
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	if (SSL_CTX_use_certificate_chain_file(context, config->tls.certificate) != 1)
		err = tls_error(error, config, "certificate", config->tls.certificate,
				openssl_reason());
	else
		err = use_key(context, config, error);
	if (err) {
		SSL_CTX_free(context);
		return err;
	}
	*ret_context = context;
	return 0;
}

/* What an operation of OpenSSL that did not succeed means. */
static int tls_result(struct pg_tcp_stream *stream, int result)
{
	switch (SSL_get_error(stream->tls, result)) {
	case SSL_ERROR_WANT_WRITE:
		stream->wants_write = true;
		return PG_TCP_WAIT;
	case SSL_ERROR_WANT_READ:
		return PG_TCP_WAIT;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		ERR_clear_error();
		return PG_TCP_BROKEN;
	}
}

static int plain_result(void)
{
	return errno == EAGAIN || errno == EINTR ? PG_TCP_WAIT : PG_TCP_BROKEN;
}

int pg_tcp_stream_handshake(struct pg_tcp_stream *stream)
{
	int result;

	if (!stream->handshaking)
		return 0;
	stream->wants_write = false;
	ERR_clear_error();
	result = SSL_accept(stream->tls);
	if (result == 1) {
		stream->handshaking = false;
		return 0;
	}
	result = tls_result(stream, result);
	return result ? result : PG_TCP_BROKEN;
}

ssize_t pg_tcp_stream_read(struct pg_tcp_stream *stream, uint8_t *to, size_t bytes)
{
	ssize_t count;

	stream->wants_write = false;
	if (!stream->tls) {
		count = recv(stream->fd, to, bytes, 0);
		return count < 0 ? plain_result() : count;
	}
	ERR_clear_error();
	count = SSL_read(stream->tls, to, bytes);
	return count > 0 ? count : tls_result(stream, count);
}

ssize_t pg_tcp_stream_write(struct pg_tcp_stream *stream, const uint8_t *from, size_t bytes)
{
	ssize_t count;

	stream->wants_write = false;
	if (!stream->tls) {
		count = send(stream->fd, from, bytes, MSG_NOSIGNAL);
		return count < 0 ? plain_result() : count;
	}
	ERR_clear_error();
	count = SSL_write(stream->tls, from, bytes);
	if (count > 0)
		return count;
	count = tls_result(stream, count);
	return count ? count : PG_TCP_BROKEN;
}

bool pg_tcp_stream_pending(const struct pg_tcp_stream *stream)
{
	return stream->tls && SSL_pending(stream->tls) > 0;
}

void pg_tcp_stream_finish(struct pg_tcp_stream *stream)
{
	ERR_clear_error();
	if (stream->tls)
		SSL_shutdown(stream->tls);
	ERR_clear_error();
	stream->wants_write = false;
	shutdown(stream->fd, SHUT_WR);
}

bool pg_tcp_stream_discard(struct pg_tcp_stream *stream, uint8_t *room, size_t bytes)
{
	ssize_t count = recv(stream->fd, room, bytes, 0);

	return count > 0 || (count < 0 && plain_result() == PG_TCP_WAIT);
}

void pg_tcp_stream_close(struct pg_tcp_stream *stream)
{
	if (stream->tls) {
		ERR_clear_error();
		if (!stream->handshaking)
			SSL_shutdown(stream->tls);
		SSL_free(stream->tls);
		ERR_clear_error();
	}
	stream->tls = NULL;
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
}
