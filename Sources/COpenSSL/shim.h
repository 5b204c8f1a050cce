// OpenSSL 3.0: what its headers only offer as macros, as functions that Swift can import.
//
// One function for one macro, under its lower-case name with the prefix `weir_`; see the manual page of the
// macro. Stacks are macros throughout, so walking one is spelled out here too.
#pragma once

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <stdbool.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 or later is needed; install libssl-dev of Debian 12 or later"
#endif

// MARK: Contexts

static inline bool weir_ssl_ctx_set_versions(SSL_CTX *context, int minimum, int maximum) {
    return SSL_CTX_set_min_proto_version(context, minimum) == 1
        && SSL_CTX_set_max_proto_version(context, maximum) == 1;
}

static inline void weir_ssl_ctx_set_mode(SSL_CTX *context, long mode) { SSL_CTX_set_mode(context, mode); }

/// What holds for both sides: no compression, and kernel TLS where it is wanted and there.
static inline void weir_ssl_ctx_set_common_options(SSL_CTX *context, bool uses_kernel) {
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | (uses_kernel ? SSL_OP_ENABLE_KTLS : 0));
}

/// The server's order of ciphers decides, and a client cannot begin a second handshake.
static inline void weir_ssl_ctx_set_server_options(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
}

static inline void weir_ssl_ctx_disable_tickets(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
}

static inline void weir_ssl_ctx_disable_session_cache(SSL_CTX *context) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

static inline void weir_ssl_ctx_set_read_ahead(SSL_CTX *context, bool reads_ahead) {
    SSL_CTX_set_read_ahead(context, reads_ahead);
}

static inline void weir_ssl_ctx_set_max_cert_list(SSL_CTX *context, long byte_count) {
    SSL_CTX_set_max_cert_list(context, byte_count);
}

static inline bool weir_ssl_ctx_set_groups(SSL_CTX *context, const char *list) {
    return SSL_CTX_set1_groups_list(context, list) == 1;
}

static inline bool weir_ssl_ctx_set_chain(SSL_CTX *context, STACK_OF(X509) *chain) {
    return SSL_CTX_set1_chain(context, chain) == 1;
}

static inline void weir_ssl_ctx_set_servername_callback(
    SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument) {
    SSL_CTX_set_tlsext_servername_callback(context, callback);
    SSL_CTX_set_tlsext_servername_arg(context, argument);
}

static inline void weir_ssl_ctx_set_status_callback(
    SSL_CTX *context, int (*callback)(SSL *, void *), void *argument) {
    SSL_CTX_set_tlsext_status_cb(context, callback);
    SSL_CTX_set_tlsext_status_arg(context, argument);
}

/// A slot for a pointer that every SSL_CTX can carry; `released` sees it when the last user of a context is gone.
static inline int weir_ssl_ctx_new_slot(CRYPTO_EX_free *released) {
    return CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, released);
}

/// A slot for a pointer that every SSL can carry, unowned.
static inline int weir_ssl_new_slot(void) {
    return CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL, NULL, NULL);
}

/// A slot for a pointer that every X509 can carry, unowned.
static inline int weir_x509_new_slot(void) {
    return CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_X509, 0, NULL, NULL, NULL, NULL);
}

// MARK: Sessions

static inline int weir_ssl_negotiated_group(SSL *session) { return (int)SSL_get_negotiated_group(session); }

static inline bool weir_ssl_set_server_name(SSL *session, const char *name) {
    return SSL_set_tlsext_host_name(session, name) == 1;
}

static inline void weir_ssl_request_status(SSL *session) {
    SSL_set_tlsext_status_type(session, TLSEXT_STATUSTYPE_ocsp);
}

/// The stapled response that the server sent, owned by the session; its length or -1.
static inline long weir_ssl_get_status(SSL *session, const unsigned char **response) {
    return SSL_get_tlsext_status_ocsp_resp(session, response);
}

/// Hands the session a copy of a response to staple.
static inline bool weir_ssl_set_status(SSL *session, const void *response, size_t count) {
    void *copy = OPENSSL_memdup(response, count);
    if (!copy) return false;
    SSL_set_tlsext_status_ocsp_resp(session, copy, (long)count);
    return true;
}

/// The name of the group of the key exchange; NULL when there was none.
static inline const char *weir_ssl_group_name(SSL *session) {
    long group = SSL_get_negotiated_group(session);
    return group ? SSL_group_to_name(session, (int)group) : NULL;
}

// MARK: BIO

static inline void weir_bio_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }
static inline void weir_bio_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void weir_bio_retry_write(BIO *bio) { BIO_set_retry_write(bio); }
static inline void weir_bio_set_ended(BIO *bio) { BIO_set_flags(bio, BIO_FLAGS_IN_EOF); }
static inline bool weir_bio_has_ended(BIO *bio) { return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0; }

static inline bool weir_bio_has_kernel_send(BIO *bio) { return BIO_get_ktls_send(bio) > 0; }
static inline bool weir_bio_has_kernel_receive(BIO *bio) { return BIO_get_ktls_recv(bio) > 0; }

/// A name as RFC 2253 writes it.
static inline void weir_print_name(BIO *bio, const X509_NAME *name) {
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
}

/// The bytes that a memory BIO holds, which it keeps.
static inline long weir_bio_memory(BIO *bio, char **bytes) { return BIO_get_mem_data(bio, bytes); }

// MARK: Stacks

static inline STACK_OF(X509) *weir_certificates_new(void) { return sk_X509_new_null(); }
static inline void weir_certificates_free(STACK_OF(X509) *stack) { sk_X509_pop_free(stack, X509_free); }
static inline bool weir_certificates_push(STACK_OF(X509) *stack, X509 *certificate) {
    return sk_X509_push(stack, certificate) > 0;
}
static inline int weir_certificates_count(const STACK_OF(X509) *stack) { return sk_X509_num(stack); }
static inline X509 *weir_certificates_at(const STACK_OF(X509) *stack, int index) {
    return sk_X509_value(stack, index);
}

static inline STACK_OF(X509_NAME) *weir_names_new(void) { return sk_X509_NAME_new_null(); }
static inline bool weir_names_push(STACK_OF(X509_NAME) *stack, X509_NAME *name) {
    X509_NAME *copy = X509_NAME_dup(name);
    return copy && sk_X509_NAME_push(stack, copy) > 0;
}

static inline void weir_general_names_free(GENERAL_NAMES *names) { GENERAL_NAMES_free(names); }
static inline int weir_general_names_count(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
/// The bytes of a DNS name, owned by `names`; -1 for a name of another kind.
static inline int weir_general_names_dns(const GENERAL_NAMES *names, int index, const unsigned char **bytes) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);
    if (name->type != GEN_DNS) return -1;
    *bytes = ASN1_STRING_get0_data(name->d.dNSName);
    return ASN1_STRING_length(name->d.dNSName);
}

// MARK: Tickets

/// HMAC-SHA-256 with that key.
static inline bool weir_mac_set_key(EVP_MAC_CTX *mac, const unsigned char *key, size_t count) {
    OSSL_PARAM settings[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key, count),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"sha256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, settings) == 1;
}
