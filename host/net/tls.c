/* tls.c: see tls.h; OpenSSL's. https://docs.openssl.org/3.0/man3/SSL_get_error/ */
#include "net/tls.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

/* OpenSSL's own socket writes with write(2), which ends who has not ignored SIGPIPE. */
static int quiet_write(BIO *bio, const char *bytes, int size)
{
    ssize_t put = send((int)(intptr_t)BIO_get_data(bio), bytes, (size_t)size, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (put < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)put;
}

static int quiet_read(BIO *bio, char *bytes, int size)
{
    ssize_t got = recv((int)(intptr_t)BIO_get_data(bio), bytes, (size_t)size, 0);
    BIO_clear_retry_flags(bio);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)got;
}

static long quiet_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

struct tls_context {
    SSL_CTX *ssl;
};

/* Of the process: connections have it as long as they live, and OpenSSL counts no users of it. */
static BIO_METHOD *socket_method;
static pthread_once_t socket_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
    socket_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "socket");
    if (!socket_method)
        abort(); /* memory, as base/mem has it */
    BIO_meth_set_write(socket_method, quiet_write);
    BIO_meth_set_read(socket_method, quiet_read);
    BIO_meth_set_ctrl(socket_method, quiet_control);
}

struct tls {
    SSL *ssl;
    char *host;
    bool broken; /* no good-bye any more */
};

static SSL_SESSION *session_in(const struct tls_session *session)
{
    return (SSL_SESSION *)(uintptr_t)session; /* OpenSSL counts its users itself */
}

/* ---- whom to trust ---- */

static bool trust(SSL_CTX *ssl, const char *ca_bundle, struct err *err)
{
    const curl_version_info_data *known = curl_version_info(CURLVERSION_NOW);
    /* As libcurl: whoever is in the bundle is trusted, though it be no root. */
    X509_STORE_set_flags(SSL_CTX_get_cert_store(ssl), X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    ERR_clear_error();
    if (ca_bundle) {
        if (SSL_CTX_load_verify_file(ssl, ca_bundle) == 1)
            return true;
        return err_set(err, ERR_NETWORK, "ca_bundle = %s cannot be read as certificates: %s", ca_bundle,
                       ERR_reason_error_string(ERR_peek_last_error()));
    }
    bool some = known->cainfo && SSL_CTX_load_verify_file(ssl, known->cainfo) == 1;
    some = (known->capath && SSL_CTX_load_verify_dir(ssl, known->capath) == 1) || some;
    if (!some)
        some = SSL_CTX_set_default_verify_paths(ssl) == 1;
    ERR_clear_error();
    return some || err_set(err, ERR_NETWORK, "this system has no certificates of authorities");
}

struct tls_context *tls_context_new(const char *ca_bundle, struct err *err)
{
    struct tls_context *context = mem_zero(sizeof *context);
    context->ssl = SSL_CTX_new(TLS_client_method());
    pthread_once(&socket_once, make_method);
    if (!context->ssl) {
        tls_context_free(context);
        err_set(err, ERR_NETWORK, "OpenSSL cannot be set up: %s",
                ERR_reason_error_string(ERR_peek_last_error()));
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION);
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                       SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context->ssl, 1); /* else each record is two calls: its header, and the rest */
    if (trust(context->ssl, ca_bundle, err))
        return context;
    tls_context_free(context);
    return NULL;
}

void tls_context_free(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}

/* ---- a connection ---- */

struct tls *tls_open(struct tls_context *context, int fd, const char *host, const struct tls_session *session)
{
    static const unsigned char http[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    unsigned char address[sizeof(struct in6_addr)];
    struct tls *tls = mem_zero(sizeof *tls);
    tls->host = mem_string(host);
    tls->ssl = SSL_new(context->ssl);
    BIO *bio = tls->ssl ? BIO_new(socket_method) : NULL;
    if (!bio)
        abort(); /* memory, as base/mem has it */
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_connect_state(tls->ssl);
    X509_VERIFY_PARAM *parameters = SSL_get0_param(tls->ssl);
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(parameters, host);
    } else {
        X509_VERIFY_PARAM_set1_host(parameters, host, 0);
        SSL_set_tlsext_host_name(tls->ssl, host);
    }
    SSL_set_alpn_protos(tls->ssl, http, sizeof http);
    if (session)
        SSL_set_session(tls->ssl, session_in(session));
    return tls;
}

static const char *why(unsigned long code, int number)
{
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : number ? strerror(number) : "the connection was closed";
}

static enum tls_result result(struct tls *tls, int returned, struct err *err)
{
    int number = errno;
    switch (SSL_get_error(tls->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        break;
    }
    tls->broken = true;
    long verified = SSL_get_verify_result(tls->ssl);
    if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH)
        err_set(err, ERR_NETWORK,
                "the server's certificate is not accepted: no name in it matches target host name '%s'",
                tls->host);
    else if (verified != X509_V_OK)
        err_set(err, ERR_NETWORK, "the server's certificate is not accepted: %s",
                X509_verify_cert_error_string(verified));
    else
        err_set(err, ERR_NETWORK, "TLS: %s", why(ERR_peek_last_error(), number));
    ERR_clear_error();
    return TLS_FAILED;
}

enum tls_result tls_handshake(struct tls *tls, struct err *err)
{
    ERR_clear_error();
    errno = 0;
    int returned = SSL_do_handshake(tls->ssl);
    return returned == 1 ? TLS_DONE : result(tls, returned, err);
}

enum tls_result tls_read(struct tls *tls, char *bytes, size_t size, size_t *got, struct err *err)
{
    ERR_clear_error();
    errno = 0;
    int returned = SSL_read_ex(tls->ssl, bytes, size, got);
    return returned == 1 ? TLS_DONE : result(tls, returned, err);
}

enum tls_result tls_write(struct tls *tls, const char *bytes, size_t size, size_t *put, struct err *err)
{
    ERR_clear_error();
    errno = 0;
    int returned = SSL_write_ex(tls->ssl, bytes, size, put);
    return returned == 1 ? TLS_DONE : result(tls, returned, err);
}

struct tls_session *tls_session_of(const struct tls *tls)
{
    SSL_SESSION *session = SSL_get1_session(tls->ssl);
    if (session && SSL_SESSION_is_resumable(session))
        return (struct tls_session *)(void *)session;
    SSL_SESSION_free(session);
    return NULL;
}

void tls_session_free(struct tls_session *session)
{
    SSL_SESSION_free(session_in(session));
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    if (!tls->broken && SSL_is_init_finished(tls->ssl))
        SSL_shutdown(tls->ssl);
    ERR_clear_error();
    SSL_free(tls->ssl);
    free(tls->host);
    free(tls);
}
