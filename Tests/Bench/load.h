// What load.c, tls_load.c, http_load.c and http_target.c share: their options, counts and latencies, and the frame around every load.
//
// A load opens its flows, warms up (--warm-up units), prints "ready" and waits for a line on standard
// input; then it works, prints one line of JSON and keeps its flows until standard input ends. Whoever
// measures thus reads the proxy's counters at rest, before and after. A byte count or an answer that is
// not what it should be is an error and is counted; a datagram without an answer is lost.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BULK_CHUNK = 256 << 10,
    ECHO_MAX = 64 << 10,
    EVENTS = 256,
    ERRORS_MAX = 100,
};

static struct {
    int port, ports, flows, at_once, size, window;
    // Of http_load.c alone: bytes of content in an answer and in a request; requests a second, or as many as go.
    int content, post, rate;
    uint64_t count, bytes, warm_up;
    const char *certificate, *path;
} options = {.path = "", .port = 8000, .ports = 1, .flows = 1, .at_once = 1, .size = 64, .window = 1, .count = 1};

static struct {
    uint64_t units, errors, sent, received;
} done;

static char buffer[BULK_CHUNK];

static void fail(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int check(int result, const char *what) {
    if (result < 0) fail(what);
    return result;
}

static inline void count_error(const char *what) {
    if (done.errors++ == 0) fprintf(stderr, "load: first error: %s: %s\n", what, strerror(errno));
    if (done.errors > ERRORS_MAX) fail("too many errors, the last");
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void set(int fd, int level, int name, int value) {
    check(setsockopt(fd, level, name, &value, sizeof value), "setsockopt");
}

static void watch(int epoll, int operation, int fd, uint32_t events, void *whom) {
    struct epoll_event event = {.events = events, .data.ptr = whom};
    check(epoll_ctl(epoll, operation, fd, &event), "epoll_ctl");
}

// Latencies: 64 steps to each power of two, so that a quantile is exact to 1.6 %.

static uint32_t histogram[64 * 60];

static inline void record(uint64_t nanoseconds) {
    int shift = nanoseconds < 64 ? 0 : 63 - __builtin_clzll(nanoseconds) - 6;
    histogram[(uint64_t)shift * 64 + (nanoseconds >> shift)]++;
}

static double quantile_microseconds(double share) {
    uint64_t total = 0, below = 0;
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) total += histogram[i];
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        below += histogram[i];
        if (total > 0 && (double)below >= share * (double)total) {
            int shift = i < 128 ? 0 : (int)(i / 64) - 1;
            return (double)((i - (uint64_t)shift * 64) << shift) / 1000;
        }
    }
    return 0;
}

/// What a bulk client asks for: the target takes `up` bytes, then sends `down`; as often as asked.
/// After bytes upwards it tells how many it took.
struct bulk_request {
    uint64_t up, down;
};

// The frame around every load.

static uint64_t began_at;

static inline void wait_for_start(void) {
    char line[16];
    memset(histogram, 0, sizeof histogram);
    memset(&done, 0, sizeof done);
    puts("ready");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) exit(0);
    began_at = now();
}

static inline void report(void) {
    double seconds = (double)(now() - began_at) / 1e9;
    printf(
        "{\"units\": %llu, \"seconds\": %.6f, \"errors\": %llu, \"lost\": %lld, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
        (unsigned long long)done.units, seconds, (unsigned long long)done.errors,
        (long long)(done.sent - done.received), quantile_microseconds(0.5), quantile_microseconds(0.99));
    fflush(stdout);
    while (getchar() != EOF) continue;
}

static void refuse(const char *why) {
    fprintf(stderr, "load: %s\n", why);
    exit(64);
}

static uint64_t number(const char *text) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != 0 || end == text) refuse("an option's value is not a number");
    return value;
}

static void parse(int count, char **arguments) {
    static const struct option names[] = {
        {"port", 1, NULL, 'p'},   {"ports", 1, NULL, 'l'}, {"flows", 1, NULL, 'f'},   {"at-once", 1, NULL, 'a'},
        {"size", 1, NULL, 's'},   {"window", 1, NULL, 'w'}, {"count", 1, NULL, 'c'},  {"bytes", 1, NULL, 'b'},
        {"warm-up", 1, NULL, 'u'}, {"certificate", 1, NULL, 'C'}, {"content", 1, NULL, 'n'},
        {"post", 1, NULL, 'o'},   {"path", 1, NULL, 'P'},   {"rate", 1, NULL, 'r'},   {NULL, 0, NULL, 0}};
    for (int name; (name = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        if (name == '?') exit(64);
        uint64_t value = name == 'C' || name == 'P' ? 0 : number(optarg);
        switch (name) {
        case 'p': options.port = (int)value; break;
        case 'l': options.ports = (int)value; break;
        case 'f': options.flows = (int)value; break;
        case 'a': options.at_once = (int)value; break;
        case 's': options.size = (int)value; break;
        case 'w': options.window = (int)value; break;
        case 'c': options.count = value; break;
        case 'b': options.bytes = value; break;
        case 'u': options.warm_up = value; break;
        case 'C': options.certificate = optarg; break;
        case 'P': options.path = optarg; break;
        case 'n': options.content = (int)value; break;
        case 'o': options.post = (int)value; break;
        case 'r': options.rate = (int)value; break;
        default: exit(64);
        }
    }
    if (options.ports < 1 || options.flows < 1 || options.at_once < 1 || options.window < 1 || options.size < 1
        || options.size > ECHO_MAX)
        refuse("a number is out of range");
}
