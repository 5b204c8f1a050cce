// TLS clients as tls_load.c and http_load.c have them, above load.h.
//
// Every client offers TLS 1.3, X25519 and TLS_AES_128_GCM_SHA256 and nothing else, and takes only the
// certificate in --certificate FILE: subjects that do anything else fail.
#pragma once
#include "load.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

// The name in the certificate, which clients ask for as browsers do.
static const char server_name[] = "bench.test";

static SSL_CTX *context;

/// The reason as OpenSSL has it, where the last system call did not fail.
static void explain(void) {
    unsigned long code = ERR_peek_last_error();
    if (code == 0) return;
    if (done.errors == 0) fprintf(stderr, "load: %s\n", ERR_error_string(code, NULL));
    ERR_clear_error();
    errno = EPROTO;
}

static void fail_in_tls(const char *what) {
    explain();
    fail(what);
}

static void make_context(void) {
    if (options.certificate == NULL) refuse("--certificate is missing");
    context = SSL_CTX_new(TLS_client_method());
    if (context == NULL || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION)
        || !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256")
        || !SSL_CTX_set1_groups_list(context, "X25519")
        || !SSL_CTX_load_verify_locations(context, options.certificate, NULL))
        fail_in_tls("client context");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
}

/// A session on a socket, resumed where there is a ticket.
static SSL *make_session(int fd, SSL_SESSION *ticket) {
    SSL *tls = SSL_new(context);
    if (tls == NULL || !SSL_set_fd(tls, fd) || !SSL_set_tlsext_host_name(tls, server_name)
        || (ticket != NULL && !SSL_set_session(tls, ticket)))
        fail_in_tls("session");
    return tls;
}

/// What to wait for after a call that returned `result`; zero when it failed.
static uint32_t events_after(const SSL *tls, int result) {
    switch (SSL_get_error(tls, result)) {
    case SSL_ERROR_WANT_READ: return EPOLLIN;
    case SSL_ERROR_WANT_WRITE: return EPOLLOUT;
    // An end without an error of the system's has none to show.
    case SSL_ERROR_ZERO_RETURN: errno = ECONNABORTED; return 0;
    default: return 0;
    }
}

static void stop_blocking_socket(int fd) {
    int flags = check(fcntl(fd, F_GETFL), "fcntl");
    check(fcntl(fd, F_SETFL, flags | O_NONBLOCK), "fcntl");
}
