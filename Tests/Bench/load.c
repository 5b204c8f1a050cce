// Load and targets of the benchmark: one thread, epoll, loopback only.
//
//   load serve        --port P                        TCP and UDP echo on P, bulk transfers on P + 1
//   load bulk-up      --port P --flows N --bytes B    B bytes to the target, over N connections
//   load bulk-down    the same towards the client
//   load connections  --port P --ports L --at-once C --count N --size S
//                                                     connect, S bytes there and back, close; over L ports in turn
//   load ping-pong    --port P --flows N --count N --size S
//                                                     round trips on N connections, one in flight on each
//   load idle         --port P --flows N              N connections that rest; afterwards each must answer
//   load datagrams    --port P --flows F --window W --count N --size S
//                                                     F flows with at most W datagrams in flight on each
//   load new-flows    --port P --window W --count N --size S
//                                                     every datagram from a source address of its own
//
// A load opens its flows, warms up (--warm-up units), prints "ready" and waits for a line on standard
// input; then it works, prints one line of JSON and keeps its flows until standard input ends. Whoever
// measures thus reads the proxy's counters at rest, before and after. A byte count or an answer that is
// not what it should be is an error and is counted; a datagram without an answer is lost.
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
    BATCH = 64,
    DATAGRAM_MAX = 2048,
    EVENTS = 256,
    ERRORS_MAX = 100,
    SOCKET_BUFFER = 4 << 20,
};

static struct {
    int port, ports, flows, at_once, size, window;
    uint64_t count, bytes, warm_up;
} options = {.port = 8000, .ports = 1, .flows = 1, .at_once = 1, .size = 64, .window = 1, .count = 1};

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

static void count_error(const char *what) {
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

/// Root may pass the system's bound for buffers, so that loss is the proxy's and not ours.
static void enlarge_receive_buffer(int fd) {
    int value = SOCKET_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value) < 0)
        set(fd, SOL_SOCKET, SO_RCVBUF, value);
}

static void watch(int epoll, int operation, int fd, uint32_t events, void *whom) {
    struct epoll_event event = {.events = events, .data.ptr = whom};
    check(epoll_ctl(epoll, operation, fd, &event), "epoll_ctl");
}

// Latencies: 64 steps to each power of two, so that a quantile is exact to 1.6 %.

static uint32_t histogram[64 * 60];

static void record(uint64_t nanoseconds) {
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

// Targets.

/// What a bulk client asks for: the target takes `up` bytes, then sends `down`; as often as asked.
/// After bytes upwards it tells how many it took.
struct bulk_request {
    uint64_t up, down;
};

struct session {
    int fd;
    bool is_bulk, is_sending;
    struct bulk_request request;
    size_t request_bytes;
    uint64_t left;
};

static void close_session(struct session *session) {
    close(session->fd);
    free(session);
}

static void serve_bulk(int epoll, struct session *session) {
    ssize_t count;
    if (session->is_sending) {
        size_t chunk = session->left < BULK_CHUNK ? session->left : BULK_CHUNK;
        count = send(session->fd, buffer, chunk, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) return close_session(session);
        session->left -= (uint64_t)count;
        if (session->left == 0) {
            session->is_sending = false;
            watch(epoll, EPOLL_CTL_MOD, session->fd, EPOLLIN, session);
        }
        return;
    }
    if (session->left == 0) {
        char *place = (char *)&session->request + session->request_bytes;
        count = recv(session->fd, place, sizeof session->request - session->request_bytes, MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) return close_session(session);
        session->request_bytes += (size_t)count;
        if (session->request_bytes < sizeof session->request) return;
        session->request_bytes = 0;
        session->left = session->request.up;
    } else {
        // MSG_TRUNC drops the bytes in the kernel: reading them costs the proxy nothing, and so us.
        size_t chunk = session->left < 1 << 20 ? session->left : 1 << 20;
        count = recv(session->fd, NULL, chunk, MSG_TRUNC | MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) return;
        if (count <= 0) return close_session(session);
        session->left -= (uint64_t)count;
        if (session->left == 0 && send(session->fd, &session->request.up, 8, MSG_NOSIGNAL) != 8)
            return close_session(session);
    }
    if (session->left == 0 && session->request.down > 0) {
        session->is_sending = true;
        session->left = session->request.down;
        watch(epoll, EPOLL_CTL_MOD, session->fd, EPOLLOUT, session);
    }
}

static void serve_echo(struct session *session) {
    ssize_t count = recv(session->fd, buffer, ECHO_MAX, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN) return;
    // Clients wait for their answer before they send more, so that it always fits the send buffer.
    if (count <= 0 || send(session->fd, buffer, (size_t)count, MSG_NOSIGNAL) != count) close_session(session);
}

struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_in peers[BATCH];
    char bytes[BATCH][DATAGRAM_MAX];
};

static void prepare(struct batch *batch, bool has_peers) {
    for (int i = 0; i < BATCH; i++) {
        batch->vectors[i] = (struct iovec){batch->bytes[i], DATAGRAM_MAX};
        batch->messages[i].msg_hdr = (struct msghdr){.msg_iov = &batch->vectors[i], .msg_iovlen = 1};
        if (!has_peers) continue;
        batch->messages[i].msg_hdr.msg_name = &batch->peers[i];
        batch->messages[i].msg_hdr.msg_namelen = sizeof batch->peers[i];
    }
}

/// Sends all of them, whatever the kernel takes at once.
static void send_all(int fd, struct mmsghdr *messages, int count) {
    for (int sent = 0; sent < count;) {
        int result = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
        if (result < 0 && errno != ECONNREFUSED && errno != EAGAIN) fail("sendmmsg");
        // A refusal belongs to an earlier datagram; this one is tried again.
        if (result > 0) sent += result;
    }
}

static void serve_datagrams(int fd) {
    static struct batch batch;
    prepare(&batch, true);
    int count = recvmmsg(fd, batch.messages, BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0) return;
    for (int i = 0; i < count; i++) batch.vectors[i].iov_len = batch.messages[i].msg_len;
    send_all(fd, batch.messages, count);
}

static int listening(int port, int type) {
    struct sockaddr_in address = loopback(port);
    // Every address of 127.0.0.0/8 is a target of its own.
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    int fd = check(socket(AF_INET, type | SOCK_NONBLOCK, 0), "socket");
    if (type == SOCK_STREAM) {
        set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    } else {
        enlarge_receive_buffer(fd);
    }
    check(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
    if (type == SOCK_STREAM) check(listen(fd, 4096), "listen");
    return fd;
}

static void serve(void) {
    static struct session echo, bulk, datagrams;
    int epoll = check(epoll_create1(0), "epoll_create1");
    echo.fd = listening(options.port, SOCK_STREAM);
    bulk.fd = listening(options.port + 1, SOCK_STREAM);
    datagrams.fd = listening(options.port, SOCK_DGRAM);
    watch(epoll, EPOLL_CTL_ADD, echo.fd, EPOLLIN, &echo);
    watch(epoll, EPOLL_CTL_ADD, bulk.fd, EPOLLIN, &bulk);
    watch(epoll, EPOLL_CTL_ADD, datagrams.fd, EPOLLIN, &datagrams);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct session *session = events[i].data.ptr;
            if (session == &datagrams) {
                serve_datagrams(datagrams.fd);
            } else if (session == &echo || session == &bulk) {
                int fd = accept4(session->fd, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0) continue;
                struct session *accepted = calloc(1, sizeof *accepted);
                if (accepted == NULL) fail("calloc");
                accepted->fd = fd;
                accepted->is_bulk = session == &bulk;
                watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, accepted);
            } else if (session->is_bulk) {
                serve_bulk(epoll, session);
            } else {
                serve_echo(session);
            }
        }
    }
}

// Connections.

struct connection {
    int fd;
    uint64_t left, began;
    bool is_waiting;
};

static void open_flow(struct connection *connection, int type) {
    struct sockaddr_in address = loopback(options.port);
    connection->fd = check(socket(AF_INET, type, 0), "socket");
    if (type == SOCK_STREAM) set(connection->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    check(connect(connection->fd, (struct sockaddr *)&address, sizeof address), "connect");
}

static struct connection *open_flows(int epoll, int type) {
    struct connection *connections = calloc((size_t)options.flows, sizeof *connections);
    if (connections == NULL) fail("calloc");
    for (int i = 0; i < options.flows; i++) {
        open_flow(&connections[i], type);
        if (epoll >= 0) watch(epoll, EPOLL_CTL_ADD, connections[i].fd, EPOLLIN, &connections[i]);
    }
    return connections;
}

/// Bytes in one direction over all connections, an equal share on each.
static void transfer(int epoll, struct connection *connections, uint64_t bytes, bool is_up) {
    uint64_t share = bytes / (uint64_t)options.flows;
    int active = options.flows;
    for (int i = 0; i < options.flows; i++) {
        struct bulk_request request = {is_up ? share : 0, is_up ? 0 : share};
        if (send(connections[i].fd, &request, sizeof request, MSG_NOSIGNAL) != sizeof request) fail("request");
        connections[i].left = share;
        if (is_up) watch(epoll, EPOLL_CTL_MOD, connections[i].fd, EPOLLOUT, &connections[i]);
    }
    while (active > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!is_up) {
                ssize_t got = recv(connection->fd, NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT);
                if (got < 0 && errno == EAGAIN) continue;
                if (got <= 0 || (uint64_t)got > connection->left) fail("bulk download");
                connection->left -= (uint64_t)got;
                if (connection->left == 0) active--;
            } else if (connection->left > 0) {
                size_t chunk = connection->left < BULK_CHUNK ? connection->left : BULK_CHUNK;
                ssize_t sent = send(connection->fd, buffer, chunk, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (sent < 0 && errno == EAGAIN) continue;
                if (sent <= 0) fail("bulk upload");
                connection->left -= (uint64_t)sent;
                if (connection->left == 0)
                    watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
            } else {
                uint64_t taken = 0;
                if (recv(connection->fd, &taken, sizeof taken, MSG_WAITALL) != sizeof taken || taken != share)
                    fail("the target did not take all bytes");
                active--;
            }
        }
    }
    done.units += bytes;
}

/// Begins one connection; its question goes out with the handshake's end.
static void begin_connection(int epoll, struct connection *connection, uint64_t number) {
    struct sockaddr_in address = loopback(options.port + (int)(number % (uint64_t)options.ports));
    connection->fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
    connection->left = (uint64_t)options.size;
    connection->began = now();
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect");
    ssize_t sent = send(connection->fd, buffer, (size_t)options.size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) count_error("first send");
    connection->is_waiting = sent < 0;
    watch(epoll, EPOLL_CTL_ADD, connection->fd, sent < 0 ? EPOLLOUT : EPOLLIN, connection);
}

/// True when the connection has its answer, or has failed.
static bool advance_connection(int epoll, struct connection *connection) {
    if (connection->is_waiting) {
        ssize_t sent = send(connection->fd, buffer, (size_t)options.size, MSG_NOSIGNAL);
        if (sent != options.size) {
            count_error("connection refused");
            return true;
        }
        connection->is_waiting = false;
        watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
        return false;
    }
    ssize_t got = recv(connection->fd, buffer, ECHO_MAX, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got <= 0 || (uint64_t)got > connection->left) {
        if (got == 0) errno = ECONNABORTED;
        count_error("answer on a new connection");
        return true;
    }
    connection->left -= (uint64_t)got;
    if (connection->left > 0) return false;
    record(now() - connection->began);
    done.units++;
    return true;
}

static void connect_and_close(int epoll, uint64_t total) {
    struct connection connections[options.at_once];
    uint64_t begun = 0, ended = 0;
    for (int i = 0; i < options.at_once && begun < total; i++) begin_connection(epoll, &connections[i], begun++);
    while (ended < total) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!advance_connection(epoll, connection)) continue;
            close(connection->fd);
            ended++;
            if (begun < total) begin_connection(epoll, connection, begun++);
        }
    }
}

static void ask(struct connection *connection) {
    connection->left = (uint64_t)options.size;
    connection->began = now();
    if (send(connection->fd, buffer, (size_t)options.size, MSG_NOSIGNAL) != options.size) fail("question");
}

static void ping_pong(int epoll, struct connection *connections, uint64_t total) {
    uint64_t asked = 0, answered = 0;
    for (int i = 0; i < options.flows && asked < total; i++, asked++) ask(&connections[i]);
    while (answered < total) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            ssize_t got = recv(connection->fd, buffer, ECHO_MAX, MSG_DONTWAIT);
            if (got < 0 && errno == EAGAIN) continue;
            if (got <= 0 || (uint64_t)got > connection->left) fail("answer");
            connection->left -= (uint64_t)got;
            if (connection->left > 0) continue;
            record(now() - connection->began);
            answered++;
            if (asked < total) {
                ask(connection);
                asked++;
            }
        }
    }
    done.units += answered;
}

/// One round trip on each connection in turn.
static void ask_each(struct connection *connections) {
    struct timeval patience = {.tv_sec = 5};
    for (int i = 0; i < options.flows; i++) {
        setsockopt(connections[i].fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        ask(&connections[i]);
        if (recv(connections[i].fd, buffer, (size_t)options.size, MSG_WAITALL) != options.size) {
            count_error("resting connection");
            continue;
        }
        record(now() - connections[i].began);
        done.units++;
    }
}

// Datagrams. Each carries the time at which it left, in its first bytes.

static const int silence_milliseconds = 50;

static void send_datagrams(struct connection *flow, int count) {
    static struct batch batch;
    uint64_t time = now();
    prepare(&batch, false);
    for (int i = 0; i < count; i++) {
        memcpy(batch.bytes[i], &time, sizeof time);
        batch.vectors[i].iov_len = (size_t)options.size;
    }
    send_all(flow->fd, batch.messages, count);
    flow->left += (uint64_t)count;
    done.sent += (uint64_t)count;
}

static int receive_datagrams(int fd, int count_max) {
    static struct batch batch;
    prepare(&batch, false);
    int count = recvmmsg(fd, batch.messages, (unsigned)count_max, MSG_DONTWAIT, NULL);
    if (count < 0) return 0;
    uint64_t time = now(), sent_time;
    for (int i = 0; i < count; i++) {
        memcpy(&sent_time, batch.bytes[i], sizeof sent_time);
        if (batch.messages[i].msg_len != (unsigned)options.size) count_error("size of a datagram");
        record(time - sent_time);
    }
    done.received += (uint64_t)count;
    return count;
}

static void exchange_datagrams(int epoll, struct connection *flows, uint64_t total) {
    uint64_t sent_before = done.sent, received_before = done.received;
    for (int i = 0; i < options.flows; i++) flows[i].left = 0;
    bool is_stalled = true;
    for (;;) {
        // In the beginning, and when all that is missing is lost: fill every window.
        for (int i = 0; is_stalled && i < options.flows; i++) {
            flows[i].left = 0;
            uint64_t left = total - (done.sent - sent_before);
            send_datagrams(&flows[i], left < (uint64_t)options.window ? (int)left : options.window);
        }
        is_stalled = false;
        if (done.received - received_before >= total) return;
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, silence_milliseconds);
        if (count == 0 && done.sent - sent_before >= total) return;
        is_stalled = count == 0;
        for (int i = 0; i < count; i++) {
            struct connection *flow = events[i].data.ptr;
            int got = receive_datagrams(flow->fd, options.window);
            flow->left -= (uint64_t)got < flow->left ? (uint64_t)got : flow->left;
            uint64_t left = total - (done.sent - sent_before);
            uint64_t space = (uint64_t)options.window - flow->left;
            int next = (int)(left < (uint64_t)got ? left : (uint64_t)got);
            send_datagrams(flow, (uint64_t)next < space ? next : (int)space);
        }
    }
}

/// The source address is chosen for each datagram (IP_PKTINFO), the answers come to one wildcard socket.
static void send_from_new_sources(struct connection *flow, int count) {
    static struct batch batch;
    static union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
    } controls[BATCH];
    static uint32_t source = 0x7f010000;
    struct sockaddr_in address = loopback(options.port);
    uint64_t time = now();
    prepare(&batch, true);
    for (int i = 0; i < count; i++) {
        struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(++source)};
        struct msghdr *message = &batch.messages[i].msg_hdr;
        batch.peers[i] = address;
        memcpy(batch.bytes[i], &time, sizeof time);
        batch.vectors[i].iov_len = (size_t)options.size;
        message->msg_control = &controls[i];
        message->msg_controllen = sizeof controls[i];
        struct cmsghdr *control = CMSG_FIRSTHDR(message);
        control->cmsg_level = IPPROTO_IP;
        control->cmsg_type = IP_PKTINFO;
        control->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(control), &info, sizeof info);
    }
    send_all(flow->fd, batch.messages, count);
    flow->left += (uint64_t)count;
    done.sent += (uint64_t)count;
}

static void exchange_new_flows(int epoll, struct connection *flow, uint64_t total) {
    uint64_t sent_before = done.sent;
    flow->left = 0;
    for (;;) {
        uint64_t left = total - (done.sent - sent_before);
        uint64_t space = (uint64_t)options.window - flow->left;
        if (left == 0 && flow->left == 0) return;
        uint64_t next = left < space ? left : space;
        if (next > 0) send_from_new_sources(flow, next < BATCH ? (int)next : BATCH);
        struct epoll_event event;
        if (epoll_wait(epoll, &event, 1, silence_milliseconds) == 0) {
            flow->left = 0;
            continue;
        }
        int got = receive_datagrams(flow->fd, BATCH);
        flow->left -= (uint64_t)got < flow->left ? (uint64_t)got : flow->left;
    }
}

// The frame around every load.

static uint64_t began_at;

static void wait_for_start(void) {
    char line[16];
    memset(histogram, 0, sizeof histogram);
    memset(&done, 0, sizeof done);
    puts("ready");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) exit(0);
    began_at = now();
}

static void report(void) {
    double seconds = (double)(now() - began_at) / 1e9;
    printf(
        "{\"units\": %llu, \"seconds\": %.6f, \"errors\": %llu, \"lost\": %lld, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
        (unsigned long long)done.units, seconds, (unsigned long long)done.errors,
        (long long)(done.sent - done.received), quantile_microseconds(0.5), quantile_microseconds(0.99));
    fflush(stdout);
    while (getchar() != EOF) continue;
}

static void run_bulk(bool is_up) {
    int epoll = check(epoll_create1(0), "epoll_create1");
    struct connection *connections = open_flows(epoll, SOCK_STREAM);
    if (options.warm_up > 0) transfer(epoll, connections, options.warm_up, is_up);
    for (int i = 0; i < options.flows; i++)
        watch(epoll, EPOLL_CTL_MOD, connections[i].fd, EPOLLIN, &connections[i]);
    wait_for_start();
    transfer(epoll, connections, options.bytes, is_up);
    report();
}

static void run_connections(void) {
    int epoll = check(epoll_create1(0), "epoll_create1");
    connect_and_close(epoll, options.warm_up);
    wait_for_start();
    connect_and_close(epoll, options.count);
    report();
}

static void run_ping_pong(void) {
    int epoll = check(epoll_create1(0), "epoll_create1");
    struct connection *connections = open_flows(epoll, SOCK_STREAM);
    ping_pong(epoll, connections, options.warm_up);
    wait_for_start();
    ping_pong(epoll, connections, options.count);
    report();
}

static void run_idle(void) {
    struct connection *connections = open_flows(-1, SOCK_STREAM);
    ask_each(connections);
    wait_for_start();
    ask_each(connections);
    report();
}

static void run_datagrams(void) {
    int epoll = check(epoll_create1(0), "epoll_create1");
    struct connection *flows = open_flows(epoll, SOCK_DGRAM);
    exchange_datagrams(epoll, flows, options.warm_up);
    wait_for_start();
    exchange_datagrams(epoll, flows, options.count);
    // There and back: the proxy moved each answered datagram twice.
    done.units = done.sent + done.received;
    report();
}

static void run_new_flows(void) {
    int epoll = check(epoll_create1(0), "epoll_create1");
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct connection flow = {.fd = check(socket(AF_INET, SOCK_DGRAM, 0), "socket")};
    enlarge_receive_buffer(flow.fd);
    check(bind(flow.fd, (struct sockaddr *)&any, sizeof any), "bind");
    watch(epoll, EPOLL_CTL_ADD, flow.fd, EPOLLIN, &flow);
    exchange_new_flows(epoll, &flow, options.warm_up);
    wait_for_start();
    exchange_new_flows(epoll, &flow, options.count);
    done.units = done.sent;
    report();
}

static uint64_t number(const char *text) {
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (*end != 0 || end == text) {
        fprintf(stderr, "load: \"%s\" is not a number\n", text);
        exit(64);
    }
    return value;
}

static void parse(int count, char **arguments) {
    static const struct option names[] = {
        {"port", 1, NULL, 'p'},   {"ports", 1, NULL, 'l'}, {"flows", 1, NULL, 'f'},   {"at-once", 1, NULL, 'a'},
        {"size", 1, NULL, 's'},   {"window", 1, NULL, 'w'}, {"count", 1, NULL, 'c'},  {"bytes", 1, NULL, 'b'},
        {"warm-up", 1, NULL, 'u'}, {NULL, 0, NULL, 0}};
    for (int name; (name = getopt_long(count, arguments, "", names, NULL)) != -1;) {
        if (name == '?') exit(64);
        uint64_t value = number(optarg);
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
        default: exit(64);
        }
    }
    if (options.ports < 1 || options.flows < 1 || options.at_once < 1 || options.window < 1
        || options.window > BATCH || options.size < 8 || options.size > ECHO_MAX) {
        fputs("load: a number is out of range\n", stderr);
        exit(64);
    }
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    if (count > 1) parse(count - 1, arguments + 1);
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(mode, "serve") == 0) serve();
    else if (strcmp(mode, "bulk-up") == 0) run_bulk(true);
    else if (strcmp(mode, "bulk-down") == 0) run_bulk(false);
    else if (strcmp(mode, "connections") == 0) run_connections();
    else if (strcmp(mode, "ping-pong") == 0) run_ping_pong();
    else if (strcmp(mode, "idle") == 0) run_idle();
    else if (strcmp(mode, "datagrams") == 0) run_datagrams();
    else if (strcmp(mode, "new-flows") == 0) run_new_flows();
    else {
        fputs("load: the modes stand at the top of load.c\n", stderr);
        return 64;
    }
    return 0;
}
