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
// The frame around a load, and what its line of JSON means, is in load.h.
#include "load.h"

enum {
    BATCH = 64,
    DATAGRAM_MAX = 2048,
    SOCKET_BUFFER = 4 << 20,
};

/// Root may pass the system's bound for buffers, so that loss is the proxy's and not ours.
static void enlarge_receive_buffer(int fd) {
    int value = SOCKET_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value) < 0)
        set(fd, SOL_SOCKET, SO_RCVBUF, value);
}

// Targets.

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

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    if (count > 1) parse(count - 1, arguments + 1);
    // A datagram carries its time.
    if (options.window > BATCH || options.size < 8) refuse("a number is out of range");
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(mode, "serve") == 0) serve();
    else if (strcmp(mode, "bulk-up") == 0) run_bulk(true);
    else if (strcmp(mode, "bulk-down") == 0) run_bulk(false);
    else if (strcmp(mode, "connections") == 0) run_connections();
    else if (strcmp(mode, "ping-pong") == 0) run_ping_pong();
    else if (strcmp(mode, "idle") == 0) run_idle();
    else if (strcmp(mode, "datagrams") == 0) run_datagrams();
    else if (strcmp(mode, "new-flows") == 0) run_new_flows();
    else refuse("the modes stand at the top of load.c");
    return 0;
}
