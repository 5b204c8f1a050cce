// TLS clients of the benchmark, in front of the targets of load.c: one thread, epoll, loopback only.
//
//   tls_load handshakes  --port P --at-once C --count N --size S
//                                                     connect, full handshake, S bytes there and back, close
//   tls_load resumptions the same, each with the ticket that the connection before it in its place was given
//   tls_load ping-pong   --port P --flows N --count N --size S
//                                                     round trips on N connections, one in flight on each
//   tls_load bulk-up     --port P --flows N --bytes B B bytes to the target, over N connections
//   tls_load bulk-down   the same towards the client
//   tls_load idle        --port P --flows N           N connections that rest; afterwards each must answer
//
// What clients offer and believe is in tls.h. A full handshake that resumes is an error, and a resumption that does
// not.
#include "tls.h"

// From the end of the warm-up on, in which every place got its first ticket.
static bool must_resume;

struct connection {
    int fd;
    SSL *tls;
    // What this connection's successor resumes with; none before the first and with full handshakes.
    SSL_SESSION *ticket;
    enum { SHAKING_HANDS, ASKING, LISTENING } stage;
    uint32_t awaited;
    uint64_t left, began;
};

static void count_tls_error(const char *what) {
    explain();
    count_error(what);
}

// Connections that come and go.

static void begin_connection(int epoll, struct connection *connection) {
    struct sockaddr_in address = loopback(options.port);
    connection->fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
    connection->left = (uint64_t)options.size;
    connection->stage = SHAKING_HANDS;
    connection->began = now();
    set(connection->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("connect");
    connection->tls = make_session(connection->fd, connection->ticket);
    connection->awaited = EPOLLOUT;
    watch(epoll, EPOLL_CTL_ADD, connection->fd, connection->awaited, connection);
}

/// True when the connection cannot go on.
static bool has_failed(int epoll, struct connection *connection, int result, const char *what) {
    uint32_t awaited = events_after(connection->tls, result);
    if (awaited == 0) {
        count_tls_error(what);
        return true;
    }
    if (awaited != connection->awaited) watch(epoll, EPOLL_CTL_MOD, connection->fd, awaited, connection);
    connection->awaited = awaited;
    return false;
}

/// True when the connection has its answer, or has failed.
static bool advance_connection(int epoll, struct connection *connection) {
    int result;
    errno = 0;
    if (connection->stage == SHAKING_HANDS) {
        if ((result = SSL_connect(connection->tls)) != 1)
            return has_failed(epoll, connection, result, "handshake");
        bool resumes = must_resume || connection->ticket != NULL;
        if (SSL_session_reused(connection->tls) != resumes) count_error(resumes ? "not resumed" : "resumed");
        connection->stage = ASKING;
    }
    if (connection->stage == ASKING) {
        if ((result = SSL_write(connection->tls, buffer, options.size)) <= 0)
            return has_failed(epoll, connection, result, "question");
        connection->stage = LISTENING;
    }
    while (connection->left > 0) {
        if ((result = SSL_read(connection->tls, buffer, ECHO_MAX)) <= 0)
            return has_failed(epoll, connection, result, "answer on a new connection");
        if ((uint64_t)result > connection->left) fail("answer of another size");
        connection->left -= (uint64_t)result;
    }
    record(now() - connection->began);
    done.units++;
    return true;
}

static void end_connection(struct connection *connection, bool resumes) {
    // A session that ends without close_notify may not be resumed.
    if (SSL_is_init_finished(connection->tls)) SSL_shutdown(connection->tls);
    if (resumes) {
        SSL_SESSION_free(connection->ticket);
        connection->ticket = SSL_get1_session(connection->tls);
        if (connection->ticket != NULL && !SSL_SESSION_is_resumable(connection->ticket)) {
            SSL_SESSION_free(connection->ticket);
            connection->ticket = NULL;
        }
    }
    SSL_free(connection->tls);
    ERR_clear_error();
    close(connection->fd);
}

static void connect_and_close(int epoll, struct connection *connections, uint64_t total, bool resumes) {
    uint64_t begun = 0, ended = 0;
    for (int i = 0; i < options.at_once && begun < total; i++, begun++) begin_connection(epoll, &connections[i]);
    while (ended < total) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!advance_connection(epoll, connection)) continue;
            end_connection(connection, resumes);
            ended++;
            if (begun < total) {
                begin_connection(epoll, connection);
                begun++;
            }
        }
    }
}

// Connections that last.

static struct connection *make_connections(int count) {
    struct connection *connections = calloc((size_t)count, sizeof *connections);
    if (connections == NULL) fail("calloc");
    return connections;
}

/// One after the other, waiting for each, so that no proxy has to hold many handshakes at a time.
static struct connection *open_flows(void) {
    struct connection *connections = make_connections(options.flows);
    for (int i = 0; i < options.flows; i++) {
        struct sockaddr_in address = loopback(options.port);
        struct connection *connection = &connections[i];
        connection->fd = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
        set(connection->fd, IPPROTO_TCP, TCP_NODELAY, 1);
        check(connect(connection->fd, (struct sockaddr *)&address, sizeof address), "connect");
        connection->tls = make_session(connection->fd, NULL);
        if (SSL_connect(connection->tls) != 1) fail_in_tls("handshake");
    }
    return connections;
}

static void stop_blocking(int epoll, struct connection *connections) {
    for (int i = 0; i < options.flows; i++) {
        stop_blocking_socket(connections[i].fd);
        watch(epoll, EPOLL_CTL_ADD, connections[i].fd, EPOLLIN, &connections[i]);
    }
}

static void send_whole(struct connection *connection, const void *bytes, int count) {
    // What is asked always fits the socket's buffer.
    if (SSL_write(connection->tls, bytes, count) != count) fail_in_tls("question");
}

static void ask(struct connection *connection) {
    connection->left = (uint64_t)options.size;
    connection->began = now();
    send_whole(connection, buffer, options.size);
}

/// Reads until the answer is whole or the socket is empty; true when it is whole.
static bool hear(struct connection *connection, void *place, int count_max) {
    while (connection->left > 0) {
        int got = SSL_read(connection->tls, place, count_max);
        if (got <= 0 && events_after(connection->tls, got) == EPOLLIN) return false;
        if (got <= 0 || (uint64_t)got > connection->left) fail_in_tls("answer");
        connection->left -= (uint64_t)got;
    }
    return true;
}

static void ping_pong(int epoll, struct connection *connections, uint64_t total) {
    uint64_t asked = 0, answered = 0;
    for (int i = 0; i < options.flows && asked < total; i++, asked++) ask(&connections[i]);
    while (answered < total) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection->left == 0) {
                // Tickets come unasked, bytes may not.
                int got = SSL_read(connection->tls, buffer, ECHO_MAX);
                if (got > 0 || events_after(connection->tls, got) != EPOLLIN) fail_in_tls("resting connection");
                continue;
            }
            if (!hear(connection, buffer, ECHO_MAX)) continue;
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
        if (!hear(&connections[i], buffer, ECHO_MAX)) {
            count_error("resting connection");
            continue;
        }
        record(now() - connections[i].began);
        done.units++;
    }
}

/// Takes what has come, a few records at a time so that all connections advance; true when `left` is zero.
static bool take(struct connection *connection) {
    for (int i = 0; i < 16 && connection->left > 0; i++) {
        int got = SSL_read(connection->tls, buffer, BULK_CHUNK);
        if (got <= 0 && events_after(connection->tls, got) == EPOLLIN) break;
        if (got <= 0 || (uint64_t)got > connection->left) fail_in_tls("bulk download");
        connection->left -= (uint64_t)got;
    }
    return connection->left == 0;
}

/// Sends until the socket is full or all is sent; true when it is.
static bool give(struct connection *connection) {
    for (int i = 0; i < 16 && connection->left > 0; i++) {
        int chunk = connection->left < BULK_CHUNK ? (int)connection->left : BULK_CHUNK;
        int sent = SSL_write(connection->tls, buffer, chunk);
        if (sent <= 0 && events_after(connection->tls, sent) == EPOLLOUT) break;
        if (sent <= 0) fail_in_tls("bulk upload");
        connection->left -= (uint64_t)sent;
    }
    return connection->left == 0;
}

/// Bytes in one direction over all connections, an equal share on each.
static void transfer(int epoll, struct connection *connections, uint64_t bytes, bool is_up) {
    uint64_t share = bytes / (uint64_t)options.flows;
    int active = options.flows;
    for (int i = 0; i < options.flows; i++) {
        struct bulk_request request = {is_up ? share : 0, is_up ? 0 : share};
        send_whole(&connections[i], &request, sizeof request);
        connections[i].left = share;
        connections[i].awaited = is_up ? EPOLLOUT : EPOLLIN;
        watch(epoll, EPOLL_CTL_MOD, connections[i].fd, connections[i].awaited, &connections[i]);
    }
    while (active > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!is_up) {
                if (take(connection)) active--;
            } else if (connection->awaited == EPOLLOUT) {
                if (!give(connection)) continue;
                connection->awaited = EPOLLIN;
                watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
            } else {
                uint64_t taken = 0;
                connection->left = sizeof taken;
                if (!hear(connection, &taken, sizeof taken)) continue;
                if (taken != share) fail("the target did not take all bytes");
                active--;
            }
        }
    }
    done.units += bytes;
}

// The loads.

static void run_handshakes(bool resumes) {
    int epoll = check(epoll_create1(0), "epoll_create1");
    struct connection *connections = make_connections(options.at_once);
    if (resumes && options.warm_up < (uint64_t)options.at_once) refuse("--warm-up is below --at-once");
    connect_and_close(epoll, connections, options.warm_up, resumes);
    must_resume = resumes;
    wait_for_start();
    connect_and_close(epoll, connections, options.count, resumes);
    report();
}

static void run_ping_pong(void) {
    int epoll = check(epoll_create1(0), "epoll_create1");
    struct connection *connections = open_flows();
    stop_blocking(epoll, connections);
    ping_pong(epoll, connections, options.warm_up);
    wait_for_start();
    ping_pong(epoll, connections, options.count);
    report();
}

static void run_bulk(bool is_up) {
    int epoll = check(epoll_create1(0), "epoll_create1");
    struct connection *connections = open_flows();
    stop_blocking(epoll, connections);
    if (options.warm_up > 0) transfer(epoll, connections, options.warm_up, is_up);
    wait_for_start();
    transfer(epoll, connections, options.bytes, is_up);
    report();
}

static void run_idle(void) {
    struct connection *connections = open_flows();
    ask_each(connections);
    wait_for_start();
    ask_each(connections);
    report();
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    if (count > 1) parse(count - 1, arguments + 1);
    signal(SIGPIPE, SIG_IGN);
    make_context();
    if (strcmp(mode, "handshakes") == 0) run_handshakes(false);
    else if (strcmp(mode, "resumptions") == 0) run_handshakes(true);
    else if (strcmp(mode, "ping-pong") == 0) run_ping_pong();
    else if (strcmp(mode, "bulk-up") == 0) run_bulk(true);
    else if (strcmp(mode, "bulk-down") == 0) run_bulk(false);
    else if (strcmp(mode, "idle") == 0) run_idle();
    else refuse("the modes stand at the top of tls_load.c");
    return 0;
}
