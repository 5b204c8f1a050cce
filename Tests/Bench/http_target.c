// The target of scripts/bench http: HTTP/1.1 with keep-alive and pipelining, one thread, epoll, loopback only.
//
//   http_target --port P
//
// The digits that end the path say how many bytes of content the answer has: /16384. Answers are made once for each
// length and sent in one call, and a request's content is dropped in the kernel, so that as little as can be of the
// load's core goes to the target. A request that is not as a proxy ought to write it is answered 400: no Host,
// another version, no length, content of a length that nobody told.
#include "load.h"

#include <stddef.h>

enum {
    HELD_MAX = 16 << 10,
    CONTENT_MAX = 1 << 20,
    ANSWERS_MAX = 16,
};

struct answer {
    uint64_t content_bytes;
    bool is_last;
    char *bytes;
    size_t count;
};

struct session {
    int fd;
    // The answer under way and how much of it is sent; none while a request is read.
    const struct answer *answer;
    size_t sent;
    // Content of the request that is still to come.
    uint64_t content_left;
    size_t held_count;
    char held[HELD_MAX];
};

static struct answer answers[ANSWERS_MAX];

static void make_answer(struct answer *answer, const char *status, uint64_t content_bytes, bool is_last) {
    char head[512];
    int count = snprintf(
        head, sizeof head,
        "HTTP/1.1 %s\r\nServer: target\r\nDate: Tue, 01 Jul 2025 12:00:00 GMT\r\nContent-Type: text/plain\r\n"
        "Content-Length: %llu\r\n%s\r\n",
        status, (unsigned long long)content_bytes, is_last ? "Connection: close\r\n" : "");
    answer->content_bytes = content_bytes;
    answer->is_last = is_last;
    answer->count = (size_t)count + content_bytes;
    answer->bytes = malloc(answer->count);
    if (answer->bytes == NULL) fail("malloc");
    memcpy(answer->bytes, head, (size_t)count);
    memset(answer->bytes + count, 'w', content_bytes);
}

static const struct answer *bad_request(void) {
    static struct answer answer;
    if (answer.bytes == NULL) make_answer(&answer, "400 Bad Request", 0, true);
    return &answer;
}

static const struct answer *answer_of(uint64_t content_bytes, bool is_last) {
    if (content_bytes > CONTENT_MAX) return bad_request();
    for (int i = 0; i < ANSWERS_MAX; i++) {
        if (answers[i].bytes == NULL) make_answer(&answers[i], "200 OK", content_bytes, is_last);
        if (answers[i].content_bytes == content_bytes && answers[i].is_last == is_last) return &answers[i];
    }
    return bad_request();
}

// Requests.

/// The value of a line "NAME: value" without the spaces around it, or NULL.
static const char *value_of(const char *line, const char *end, const char *name) {
    size_t count = strlen(name);
    if ((size_t)(end - line) <= count || line[count] != ':' || strncasecmp(line, name, count) != 0) return NULL;
    const char *value = line + count + 1;
    while (value < end && *value == ' ') value++;
    return value;
}

/// The number that ends the path of "METHOD /path/N HTTP/1.1"; -1 when that is not what the line is.
static int64_t length_in_path(const char *line, const char *end) {
    static const char version[] = " HTTP/1.1";
    const char *digits_end = end - (sizeof version - 1);
    if (digits_end <= line || memcmp(digits_end, version, sizeof version - 1) != 0) return -1;
    const char *digits = digits_end;
    while (digits > line && digits[-1] >= '0' && digits[-1] <= '9') digits--;
    if (digits == digits_end || digits_end - digits > 9 || digits[-1] != '/') return -1;
    int64_t value = 0;
    for (; digits < digits_end; digits++) value = value * 10 + (*digits - '0');
    return value;
}

/// Reads a whole head, and how long the content is that follows it.
static const struct answer *read_head(const char *head, const char *head_end, uint64_t *content_bytes) {
    bool has_host = false, is_last = false;
    const char *line_end = memchr(head, '\r', (size_t)(head_end - head));
    int64_t length = length_in_path(head, line_end);
    *content_bytes = 0;
    if (length < 0) return bad_request();
    for (const char *line = line_end + 2; line < head_end - 2; line = line_end + 2) {
        const char *value;
        line_end = memchr(line, '\r', (size_t)(head_end - line));
        // The first letter is enough to pass over most fields.
        switch (line[0] | 0x20) {
        case 'h':
            if (value_of(line, line_end, "host") != NULL) has_host = true;
            break;
        case 'c':
            if ((value = value_of(line, line_end, "content-length")) != NULL) *content_bytes = strtoull(value, NULL, 10);
            if ((value = value_of(line, line_end, "connection")) != NULL && strncasecmp(value, "close", 5) == 0)
                is_last = true;
            break;
        case 't':
            if (value_of(line, line_end, "transfer-encoding") != NULL) return bad_request();
            break;
        }
    }
    return has_host ? answer_of((uint64_t)length, is_last) : bad_request();
}

// Sessions.

static void close_session(struct session *session) {
    close(session->fd);
    free(session);
}

/// Sends what is left of the answer. 1 when all is sent, 0 when the socket is full, -1 when the session is over.
static int send_answer(struct session *session) {
    const struct answer *answer = session->answer;
    ssize_t count = send(
        session->fd, answer->bytes + session->sent, answer->count - session->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN) return -1;
    if (count > 0) session->sent += (size_t)count;
    if (session->sent < answer->count) return 0;
    session->answer = NULL;
    session->sent = 0;
    return answer->is_last ? -1 : 1;
}

/// Answers the requests that have come whole. The same results as `send_answer`.
static int answer_held(struct session *session) {
    size_t position = 0;
    int result = 1;
    while (result == 1 && position < session->held_count) {
        const char *head = session->held + position;
        size_t count = session->held_count - position;
        if (session->content_left > 0) {
            size_t dropped = session->content_left < count ? session->content_left : count;
            session->content_left -= dropped;
            position += dropped;
        } else if (session->answer == NULL) {
            const char *head_end = memmem(head, count, "\r\n\r\n", 4);
            if (head_end == NULL) {
                if (count == HELD_MAX) return -1;
                break;
            }
            position += (size_t)(head_end + 4 - head);
            session->answer = read_head(head, head_end + 4, &session->content_left);
        }
        // The answer goes out once the whole request is there.
        if (session->content_left == 0 && session->answer != NULL) result = send_answer(session);
    }
    session->held_count -= position;
    memmove(session->held, session->held + position, session->held_count);
    return result;
}

/// Reads once. The same results as `send_answer`.
static int read_session(struct session *session) {
    ssize_t count;
    if (session->content_left > 0) {
        size_t wanted = session->content_left < 1 << 20 ? session->content_left : 1 << 20;
        count = recv(session->fd, NULL, wanted, MSG_TRUNC | MSG_DONTWAIT);
        if (count > 0) session->content_left -= (uint64_t)count;
        if (count > 0) return session->content_left == 0 ? send_answer(session) : 1;
    } else {
        count = recv(
            session->fd, session->held + session->held_count, HELD_MAX - session->held_count, MSG_DONTWAIT);
        if (count > 0) session->held_count += (size_t)count;
        if (count > 0) return answer_held(session);
    }
    return count < 0 && errno == EAGAIN ? 1 : -1;
}

static void serve(int epoll, struct session *session, uint32_t events) {
    int result;
    bool was_full = (events & EPOLLOUT) != 0;
    if (was_full) {
        result = send_answer(session);
        // What had come behind the request raises no event any more.
        if (result == 1) result = answer_held(session);
    } else {
        result = read_session(session);
    }
    if (result < 0) return close_session(session);
    if (result == 0 && !was_full) watch(epoll, EPOLL_CTL_MOD, session->fd, EPOLLOUT, session);
    if (result == 1 && was_full) watch(epoll, EPOLL_CTL_MOD, session->fd, EPOLLIN, session);
}

static void accept_session(int epoll, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    struct session *session = malloc(sizeof *session);
    if (session == NULL) fail("malloc");
    memset(session, 0, offsetof(struct session, held));
    session->fd = fd;
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, session);
}

int main(int count, char **arguments) {
    parse(count, arguments);
    int epoll = check(epoll_create1(0), "epoll_create1");
    int listener = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
    struct sockaddr_in address = loopback(options.port);
    set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    set(listener, IPPROTO_TCP, TCP_NODELAY, 1);
    check(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    check(listen(listener, 4096), "listen");
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == NULL) accept_session(epoll, listener);
            else serve(epoll, events[i].data.ptr, events[i].events);
        }
    }
}
