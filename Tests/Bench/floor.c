// The floor of the benchmark: the least that forwarding costs on this kernel, without any feature.
//
//   floor tcp:LISTEN:TARGET udp:LISTEN:TARGET ...       ports on 127.0.0.1
//
// One thread, edge-triggered epoll, one registration for each socket's life. TCP is copied through one
// 16 KiB buffer until a read fills it, then spliced through a pooled 1 MiB pipe until eight splices in a
// row are short. UDP: recvmmsg and sendmmsg, one connected socket for each client, the oldest client gives
// way when the table is full. No balancing, no health, no timeouts, no counters; an error ends its flow.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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
#include <unistd.h>

enum {
    EVENTS = 256,
    ACCEPTS = 64,
    COPY_BYTES = 16 << 10,
    PIPE_BYTES = 1 << 20,
    POOLED_PIPES = 64,
    SHORT_SPLICES = 8,
    BATCH = 32,
    DATAGRAM_BYTES = 2048,
    CLIENTS = 8192,
    BUCKETS = 16384,
};

static int epoll;

static int check(int result, const char *what) {
    if (result >= 0) return result;
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/// What an event points to; the kind says which struct it is the beginning of.
struct endpoint {
    enum { TCP_LISTENER, TCP_SIDE, UDP_LISTENER, UDP_CLIENT } kind;
    int fd;
};

struct listener {
    struct endpoint endpoint;
    struct sockaddr_in target;
    struct client *buckets[BUCKETS], *clients;  // UDP only
    unsigned used;
};

static void watch(struct endpoint *endpoint, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = endpoint};
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, endpoint->fd, &event), "epoll_ctl");
}

// TCP.

struct pipe {
    int read_end, write_end;
};

/// One socket of a flow, and the direction that begins at it.
struct side {
    struct endpoint endpoint;
    struct flow *flow;
    struct side *other;
    struct pipe pipe;
    char *rest;  // what the sink did not take of a copy
    size_t rest_at, waiting;  // waiting: bytes in the rest or in the pipe
    int short_splices;
    bool is_splicing, has_ended, is_peer_closed;
};

struct flow {
    struct side client, target;
    struct flow *next_dead;
    bool is_dead;
};

static struct pipe pool[POOLED_PIPES];
static int pooled;
static struct flow *dead;

static bool take_pipe(struct pipe *pipe) {
    int ends[2];
    if (pooled > 0) {
        *pipe = pool[--pooled];
        return true;
    }
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return false;
    fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    *pipe = (struct pipe){ends[0], ends[1]};
    return true;
}

static void give_pipe(struct side *side) {
    if (!side->is_splicing) return;
    side->is_splicing = false;
    if (side->waiting == 0 && pooled < POOLED_PIPES) {
        pool[pooled++] = side->pipe;
    } else {
        close(side->pipe.read_end);
        close(side->pipe.write_end);
    }
}

/// Events of this turn may still point at the flow: it is freed after the turn.
static void end(struct flow *flow) {
    if (flow->is_dead) return;
    flow->is_dead = true;
    for (struct side *side = &flow->client; side; side = side == &flow->client ? &flow->target : NULL) {
        give_pipe(side);
        free(side->rest);
        close(side->endpoint.fd);
    }
    flow->next_dead = dead;
    dead = flow;
}

/// Writes what waits. True when nothing waits any more.
static bool flush(struct side *side) {
    while (side->waiting > 0) {
        int sink = side->other->endpoint.fd;
        ssize_t count = side->is_splicing
            ? splice(side->pipe.read_end, NULL, sink, NULL, side->waiting, SPLICE_F_NONBLOCK)
            : send(sink, side->rest + side->rest_at, side->waiting, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno != EAGAIN && errno != ENOTCONN) end(side->flow);
            return false;
        }
        side->waiting -= (size_t)count;
        side->rest_at += (size_t)count;
    }
    return true;
}

/// Reads one piece into the pipe or the buffer, and on. False when the socket has no more for now.
static bool move(struct side *side) {
    static char buffer[COPY_BYTES];
    int source = side->endpoint.fd;
    ssize_t count = side->is_splicing
        ? splice(source, NULL, side->pipe.write_end, NULL, PIPE_BYTES, SPLICE_F_NONBLOCK)
        : recv(source, buffer, COPY_BYTES, 0);
    if (count < 0) {
        if (errno != EAGAIN) end(side->flow);
        return false;
    }
    if (count == 0) {
        side->has_ended = true;
        if (side->other->has_ended) end(side->flow);
        else shutdown(side->other->endpoint.fd, SHUT_WR);
        return false;
    }
    if (side->is_splicing) {
        side->waiting = (size_t)count;
        if (!flush(side)) return false;
        side->short_splices = count < COPY_BYTES / 2 ? side->short_splices + 1 : 0;
        if (side->short_splices == SHORT_SPLICES) give_pipe(side);
        // A short splice does not mean that the socket is empty.
        return true;
    }
    ssize_t sent = send(side->other->endpoint.fd, buffer, (size_t)count, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        end(side->flow);
        return false;
    }
    if (sent < 0) sent = 0;
    if (sent < count) {
        if (side->rest == NULL && (side->rest = malloc(COPY_BYTES)) == NULL) abort();
        memcpy(side->rest, buffer + sent, (size_t)(count - sent));
        side->rest_at = 0;
        side->waiting = (size_t)(count - sent);
        return false;
    }
    if (count == COPY_BYTES && take_pipe(&side->pipe)) {
        side->is_splicing = true;
        side->short_splices = 0;
    }
    // A read that came short emptied the socket, unless the peer's end stands behind it.
    return side->is_splicing || side->is_peer_closed;
}

static void pump(struct side *side) {
    if (side->flow->is_dead || side->has_ended || !flush(side)) return;
    while (move(side)) continue;
}

static void accept_flows(struct listener *listener) {
    for (int i = 0; i < ACCEPTS; i++) {
        int client = accept4(listener->endpoint.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) return;
        int target = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
        check(target, "socket");
        setsockopt(target, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct flow *flow = calloc(1, sizeof *flow);
        if (flow == NULL) abort();
        flow->client = (struct side){.endpoint = {TCP_SIDE, client}, .flow = flow, .other = &flow->target};
        flow->target = (struct side){.endpoint = {TCP_SIDE, target}, .flow = flow, .other = &flow->client};
        if (connect(target, (struct sockaddr *)&listener->target, sizeof listener->target) < 0
            && errno != EINPROGRESS) {
            end(flow);
            continue;
        }
        watch(&flow->target.endpoint, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        watch(&flow->client.endpoint, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
}

static void handle_side(struct side *side, uint32_t events) {
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) side->is_peer_closed = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) pump(side);
    if (events & EPOLLOUT && side->other->waiting > 0) pump(side->other);
}

// UDP.

struct client {
    struct endpoint endpoint;
    struct listener *listener;
    struct sockaddr_in address;
    struct client *next;
};

static struct {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_in peers[BATCH];
    char bytes[BATCH][DATAGRAM_BYTES];
} batch;

static int receive_batch(int fd) {
    for (int i = 0; i < BATCH; i++) {
        batch.vectors[i] = (struct iovec){batch.bytes[i], DATAGRAM_BYTES};
        batch.messages[i].msg_hdr = (struct msghdr){
            .msg_name = &batch.peers[i], .msg_namelen = sizeof batch.peers[i],
            .msg_iov = &batch.vectors[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(fd, batch.messages, BATCH, 0, NULL);
    for (int i = 0; i < count; i++) batch.vectors[i].iov_len = batch.messages[i].msg_len;
    return count;
}

static struct client **bucket(struct listener *listener, const struct sockaddr_in *address) {
    uint64_t key = (uint64_t)address->sin_addr.s_addr << 16 | address->sin_port;
    return &listener->buckets[(key * 0x9e3779b97f4a7c15) >> 50];
}

static bool is_same(const struct sockaddr_in *a, const struct sockaddr_in *b) {
    return a->sin_addr.s_addr == b->sin_addr.s_addr && a->sin_port == b->sin_port;
}

static struct client *add_client(struct listener *listener, const struct sockaddr_in *address) {
    struct client *client = &listener->clients[listener->used % CLIENTS], **place;
    if (listener->used++ >= CLIENTS) {
        close(client->endpoint.fd);
        for (place = bucket(listener, &client->address); *place != client; place = &(*place)->next) continue;
        *place = client->next;
    }
    int fd = check(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    check(connect(fd, (struct sockaddr *)&listener->target, sizeof listener->target), "connect");
    place = bucket(listener, address);
    *client = (struct client){
        .endpoint = {UDP_CLIENT, fd}, .listener = listener, .address = *address, .next = *place};
    *place = client;
    watch(&client->endpoint, EPOLLIN | EPOLLET);
    return client;
}

static void relay_questions(struct listener *listener) {
    int count = receive_batch(listener->endpoint.fd);
    for (int i = 0; i < count;) {
        struct client *client = *bucket(listener, &batch.peers[i]);
        while (client && !is_same(&client->address, &batch.peers[i])) client = client->next;
        if (client == NULL) client = add_client(listener, &batch.peers[i]);
        int first = i;
        do {
            batch.messages[i].msg_hdr.msg_name = NULL;
            batch.messages[i].msg_hdr.msg_namelen = 0;
            i++;
        } while (i < count && is_same(&batch.peers[i], &client->address));
        sendmmsg(client->endpoint.fd, batch.messages + first, (unsigned)(i - first), 0);
    }
}

static void relay_answers(struct client *client) {
    for (int count = BATCH; count == BATCH;) {
        count = receive_batch(client->endpoint.fd);
        for (int i = 0; i < count; i++) batch.messages[i].msg_hdr.msg_name = &client->address;
        if (count > 0) sendmmsg(client->listener->endpoint.fd, batch.messages, (unsigned)count, 0);
    }
}

// Both.

static void listen_at(const char *text) {
    int port, target, on = 1;
    bool is_tcp = text[0] == 't';
    if (sscanf(text + 3, ":%d:%d", &port, &target) != 2) {
        fputs("usage: floor tcp:LISTEN:TARGET udp:LISTEN:TARGET ...\n", stderr);
        exit(64);
    }
    struct sockaddr_in address = loopback(port);
    int fd = check(socket(AF_INET, (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0), "socket");
    setsockopt(fd, SOL_SOCKET, is_tcp ? SO_REUSEADDR : SO_RCVBUF, is_tcp ? &on : &(int){4 << 20}, sizeof on);
    check(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL || (listener->clients = calloc(CLIENTS, sizeof *listener->clients)) == NULL) abort();
    listener->endpoint = (struct endpoint){is_tcp ? TCP_LISTENER : UDP_LISTENER, fd};
    listener->target = loopback(target);
    if (is_tcp) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        check(listen(fd, 4096), "listen");
    }
    watch(&listener->endpoint, EPOLLIN);
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    epoll = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    for (int i = 1; i < count; i++) listen_at(arguments[i]);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct endpoint *endpoint = events[i].data.ptr;
            switch (endpoint->kind) {
            case TCP_LISTENER: accept_flows((struct listener *)endpoint); break;
            case TCP_SIDE: handle_side((struct side *)endpoint, events[i].events); break;
            case UDP_LISTENER: relay_questions((struct listener *)endpoint); break;
            case UDP_CLIENT: relay_answers((struct client *)endpoint); break;
            }
        }
        while (dead) {
            struct flow *next = dead->next_dead;
            free(dead);
            dead = next;
        }
    }
}
