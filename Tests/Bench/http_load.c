// HTTP clients of the benchmark, in front of http_target.c: one thread, epoll, loopback only.
//
//   http_load requests   --port P --flows N --count N --content S [--window W]
//                                                     requests on N connections that stay, W in flight on each
//   http_load closing    --port P --at-once C --count N --content S
//                                                     connect, one request with "Connection: close", the end
//   http_load idle       --port P --flows N           N connections that rest after a request; afterwards each must
//                                                     answer one more
//   http2-requests, http2-idle                        the same over HTTP/2: in clear text with prior knowledge
//
//   --post B        requests have B bytes of content (HTTP/1.1 alone)
//   --path P        before the number that says how long the answer is to be
//   --rate R        R requests a second, come what may: gaps are random, and a request that finds all connections
//                   taken waits for one. Its latency counts from when it was due, not from when it could go
//   --certificate F over TLS, see tls.h; HTTP/2 by ALPN
//
// HTTP/2 is spoken by hand: h2load(1) neither keeps its connections at rest nor warms them up apart from what is
// measured, and starts its next request when the last is answered.
//
// Every answer must be a 200 with as much content as was asked for. One that is not is an error and its connection is
// replaced.
#include "tls.h"

#include <math.h>
#include <sys/prctl.h>

enum {
    HEAD_MAX = 4096,
    WINDOW_MAX = 128,
    FRAME_HEAD = 9,
};

static bool is_http2, is_closing;
static int epoll;

// Requests that are over, well or not.
static uint64_t answered;

struct stream {
    uint32_t id;
    bool has_head;
    uint64_t left, began;
};

struct connection {
    int fd;
    SSL *tls;
    uint32_t awaited;
    // Of the question under way, how much the socket has taken.
    const char *question;
    size_t question_count, given;
    // HTTP/1.1 has one stream, HTTP/2 as many as the window.
    struct stream *streams;
    uint32_t next_id;
    // HTTP/2: the frame under way, and the bytes taken since the window of the connection was opened again.
    bool is_in_frame;
    uint8_t frame_type, frame_flags;
    uint32_t frame_left, frame_stream;
    uint64_t taken;
    // A head that is not whole yet, a frame's head or a frame that has to be looked at.
    size_t head_count;
    char head[HEAD_MAX];
};

// Places for a request, first in first out, so that all connections are used alike. Each connection stands here once
// for every request that it can take.
static struct {
    struct connection **places;
    size_t first, count, size;
} vacant;

static void vacate(struct connection *connection) {
    if (vacant.count == vacant.size) fail("more places than there are");
    vacant.places[(vacant.first + vacant.count++) % vacant.size] = connection;
}

static struct connection *occupy(void) {
    struct connection *connection = vacant.places[vacant.first];
    vacant.first = (vacant.first + 1) % vacant.size;
    vacant.count--;
    return connection;
}

// What is asked, made once.

static char path[256];

struct question {
    char bytes[HEAD_MAX + ECHO_MAX];
    size_t count;
};

// The second is for the second request and all after it on a connection, where fields are in HPACK's table by then.
static struct question first_question, next_question;

static const char accepted[] = "text/html,application/json;q=0.9,*/*;q=0.8";
static const char agent[] = "weir-bench/1.0 (X11; Linux x86_64)";

static void put(struct question *question, const void *bytes, size_t count) {
    if (question->count + count > sizeof question->bytes) fail("a question too long");
    memcpy(question->bytes + question->count, bytes, count);
    question->count += count;
}

static void put_byte(struct question *question, int byte) {
    char value = (char)byte;
    put(question, &value, 1);
}

static void make_http1_question(void) {
    char head[1024];
    int count = snprintf(
        head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nAccept: %s\r\n",
        options.post > 0 ? "POST" : "GET", path, server_name, agent, accepted);
    put(&first_question, head, (size_t)count);
    if (is_closing) put(&first_question, "Connection: close\r\n", 19);
    if (options.post > 0) {
        count = snprintf(
            head, sizeof head, "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", options.post);
        put(&first_question, head, (size_t)count);
    }
    put(&first_question, "\r\n", 2);
    put(&first_question, buffer, (size_t)options.post);
    next_question = first_question;
}

/// A literal that goes into the table, its name by index (RFC 7541 section 6.2.1), without Huffman's code.
static void put_literal(struct question *question, int name_index, const char *value) {
    put_byte(question, 0x40 | name_index);
    put_byte(question, (int)strlen(value));
    put(question, value, strlen(value));
}

/// The head of a HEADERS frame with END_STREAM and END_HEADERS; length and stream are set later.
static void put_frame_head(struct question *question) {
    static const char head[FRAME_HEAD] = {0, 0, 0, 0x1, 0x5, 0, 0, 0, 0};
    put(question, head, sizeof head);
}

static void make_http2_question(void) {
    // Indices of RFC 7541 appendix A: :method GET, :scheme http or https, then names.
    int scheme = options.certificate != NULL ? 7 : 6;
    put_frame_head(&first_question);
    put_byte(&first_question, 0x80 | 2);
    put_byte(&first_question, 0x80 | scheme);
    put_literal(&first_question, 4, path);
    put_literal(&first_question, 1, server_name);
    put_literal(&first_question, 58, agent);
    put_literal(&first_question, 19, accepted);
    first_question.bytes[2] = (char)(first_question.count - FRAME_HEAD);
    // The same fields once they are in the table, whose latest entry is number 62.
    put_frame_head(&next_question);
    put_byte(&next_question, 0x80 | 2);
    put_byte(&next_question, 0x80 | scheme);
    for (int index = 65; index >= 62; index--) put_byte(&next_question, 0x80 | index);
    next_question.bytes[2] = (char)(next_question.count - FRAME_HEAD);
}

// The socket, or TLS on it.

static void await(struct connection *connection, uint32_t events) {
    if (connection->awaited == events) return;
    watch(epoll, connection->awaited == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, connection->fd, events, connection);
    connection->awaited = events;
}

/// How many bytes went out; 0 for none now, -1 when the connection is lost.
static ssize_t give(struct connection *connection, const void *bytes, size_t count) {
    if (connection->tls != NULL) {
        int result = SSL_write(connection->tls, bytes, (int)count);
        if (result > 0) return result;
        if (events_after(connection->tls, result) != 0) return 0;
        explain();
        return -1;
    }
    ssize_t result = send(connection->fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    return result < 0 && errno == EAGAIN ? 0 : result;
}

enum { NOTHING_NOW = -1, LOST = -2 };

/// How many bytes came, 0 at the end. Without a place for them they are dropped.
static ssize_t take(struct connection *connection, void *bytes, size_t count) {
    if (connection->tls != NULL) {
        if (bytes == NULL) {
            bytes = buffer;
            if (count > sizeof buffer) count = sizeof buffer;
        }
        int result = SSL_read(connection->tls, bytes, (int)count);
        if (result > 0) return result;
        if (SSL_get_error(connection->tls, result) == SSL_ERROR_ZERO_RETURN) return 0;
        if (events_after(connection->tls, result) != 0) return NOTHING_NOW;
        explain();
        return LOST;
    }
    ssize_t result = recv(connection->fd, bytes, count, MSG_DONTWAIT | (bytes == NULL ? MSG_TRUNC : 0));
    if (result >= 0) return result;
    return errno == EAGAIN ? NOTHING_NOW : LOST;
}

/// Sends what is left of the question. False when the connection is lost.
static bool go_on_asking(struct connection *connection) {
    while (connection->given < connection->question_count) {
        ssize_t count = give(
            connection, connection->question + connection->given, connection->question_count - connection->given);
        if (count < 0) return false;
        if (count == 0) {
            await(connection, EPOLLIN | EPOLLOUT);
            return true;
        }
        connection->given += (size_t)count;
    }
    await(connection, EPOLLIN);
    return true;
}

// Connections.

static void negotiate(struct connection *connection) {
    static const unsigned char http1[] = "\x08http/1.1", http2[] = "\x02h2";
    const unsigned char *chosen;
    unsigned count;
    connection->tls = make_session(connection->fd, NULL);
    if (SSL_set_alpn_protos(connection->tls, is_http2 ? http2 : http1, is_http2 ? 3 : 9) != 0) fail_in_tls("ALPN");
    if (SSL_connect(connection->tls) != 1) fail_in_tls("handshake");
    SSL_get0_alpn_selected(connection->tls, &chosen, &count);
    errno = EPROTO;
    if (is_http2 && (count != 2 || memcmp(chosen, "h2", 2) != 0)) fail("HTTP/2 is not negotiated");
}

/// Without server push; windows as large as they may be, so that none ever closes.
static void greet(struct connection *connection) {
    static const char greeting[] =
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        "\0\0\x0c\x4\0\0\0\0\0" "\0\x2\0\0\0\0" "\0\x4\x7f\xff\xff\xff"
        "\0\0\x4\x8\0\0\0\0\0" "\x7f\xff\0\0";
    if (give(connection, greeting, sizeof greeting - 1) != sizeof greeting - 1) fail("HTTP/2 greeting");
    connection->next_id = 1;
}

static void open_connection(struct connection *connection) {
    struct sockaddr_in address = loopback(options.port);
    struct stream *streams = connection->streams;
    memset(connection, 0, offsetof(struct connection, head));
    connection->streams = streams;
    memset(streams, 0, (size_t)options.window * sizeof *streams);
    connection->fd = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
    set(connection->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    check(connect(connection->fd, (struct sockaddr *)&address, sizeof address), "connect");
    if (options.certificate != NULL) negotiate(connection);
    stop_blocking_socket(connection->fd);
    if (is_http2) greet(connection);
    await(connection, EPOLLIN);
}

static void close_connection(struct connection *connection) {
    if (connection->tls != NULL) SSL_free(connection->tls);
    ERR_clear_error();
    close(connection->fd);
    connection->fd = -1;
    connection->tls = NULL;
}

static void make_connections(int count) {
    struct connection *connections = calloc((size_t)count, sizeof *connections);
    vacant.size = (size_t)count * (size_t)options.window;
    vacant.places = calloc(vacant.size, sizeof *vacant.places);
    if (connections == NULL || vacant.places == NULL) fail("calloc");
    for (int i = 0; i < count; i++) {
        connections[i].fd = -1;
        connections[i].streams = calloc((size_t)options.window, sizeof *connections[i].streams);
        if (connections[i].streams == NULL) fail("calloc");
        for (int place = 0; place < options.window; place++) vacate(&connections[i]);
    }
}

// Asking.

static struct stream *stream_of(struct connection *connection, uint32_t id) {
    for (int i = 0; i < options.window; i++)
        if (connection->streams[i].id == id) return &connection->streams[i];
    return NULL;
}

/// Streams that are not answered and never will be.
static void lose(struct connection *connection, const char *what) {
    count_error(what);
    close_connection(connection);
    for (int i = 0; i < options.window; i++) {
        if (connection->streams[i].id == 0) continue;
        connection->streams[i].id = 0;
        answered++;
        vacate(connection);
    }
}

static void ask(struct connection *connection, uint64_t began) {
    if (connection->fd < 0) open_connection(connection);
    const struct question *question = connection->next_id <= 1 ? &first_question : &next_question;
    struct stream *stream = stream_of(connection, 0);
    if (stream == NULL) fail("no stream is vacant");
    *stream = (struct stream){.id = 1, .left = (uint64_t)options.content, .began = began};
    if (!is_http2) {
        connection->question = question->bytes;
        connection->question_count = question->count;
        connection->given = 0;
        if (!go_on_asking(connection)) lose(connection, "question");
        return;
    }
    char frame[HEAD_MAX];
    stream->id = connection->next_id;
    connection->next_id += 2;
    memcpy(frame, question->bytes, question->count);
    for (int i = 0; i < 4; i++) frame[5 + i] = (char)(stream->id >> (24 - 8 * i));
    // Some bytes for each of a few requests always fit the socket's buffer.
    if (give(connection, frame, question->count) != (ssize_t)question->count) lose(connection, "question");
}

static void complete(struct connection *connection, struct stream *stream) {
    record(now() - stream->began);
    stream->id = 0;
    done.units++;
    answered++;
    vacate(connection);
}

// HTTP/1.1.

/// The content's length in a whole head with status 200; -1 for any other.
static int64_t read_http1_head(const char *head, const char *head_end) {
    static const char status[] = "HTTP/1.1 200", name[] = "content-length:";
    int64_t length = -1;
    if (head_end - head < (ptrdiff_t)sizeof status || memcmp(head, status, sizeof status - 1) != 0) return -1;
    for (const char *line = head; (line = memchr(line, '\n', (size_t)(head_end - line))) != NULL;) {
        line++;
        if (head_end - line > (ptrdiff_t)sizeof name && strncasecmp(line, name, sizeof name - 1) == 0)
            length = strtoll(line + sizeof name - 1, NULL, 10);
    }
    return length;
}

/// Reads what has come of the answer. Returns why the connection is lost, or NULL.
static const char *hear_http1(struct connection *connection) {
    struct stream *stream = &connection->streams[0];
    for (;;) {
        bool is_in_content = stream->id != 0 && stream->has_head && stream->left > 0;
        ssize_t count = is_in_content
            ? take(connection, NULL, stream->left)
            : take(connection, connection->head + connection->head_count, HEAD_MAX - connection->head_count);
        if (count == NOTHING_NOW) return NULL;
        if (count == LOST) return "answer";
        errno = EPROTO;
        if (count == 0) {
            if (!is_closing || stream->id == 0 || !stream->has_head || stream->left > 0) {
                errno = ECONNABORTED;
                return "early end";
            }
            close_connection(connection);
            complete(connection, stream);
            return NULL;
        }
        if (is_in_content) {
            stream->left -= (uint64_t)count;
        } else if (stream->id == 0 || stream->has_head) {
            return "bytes without a request";
        } else {
            connection->head_count += (size_t)count;
            const char *head_end = memmem(connection->head, connection->head_count, "\r\n\r\n", 4);
            if (head_end == NULL && connection->head_count == HEAD_MAX) return "head too long";
            if (head_end == NULL) continue;
            head_end += 4;
            if (read_http1_head(connection->head, head_end) != options.content) {
                if (done.errors == 0)
                    fprintf(stderr, "load: %.*s\n", (int)(head_end - connection->head), connection->head);
                return "not the answer that was asked for";
            }
            uint64_t content = (uint64_t)(connection->head + connection->head_count - head_end);
            if (content > stream->left) return "more content than was told";
            stream->left -= content;
            stream->has_head = true;
            connection->head_count = 0;
        }
        if (stream->left == 0 && !is_closing) {
            complete(connection, stream);
            // A session may have read ahead; a socket tells.
            if (connection->tls == NULL) return NULL;
        }
    }
}

// HTTP/2 (RFC 9113), as much of it as a client with wide windows needs.

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8 };

static uint32_t big_endian(const char *bytes, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; i++) value = value << 8 | (uint8_t)bytes[i];
    return value;
}

/// A header block must begin with the index of ":status 200"; all that may stand before is a change of table size.
static bool is_200(const char *block, size_t count) {
    size_t position = 0;
    while (position < count && (block[position] & 0xe0) == 0x20) {
        // Its integer goes on in bytes with the high bit set.
        bool goes_on = (block[position++] & 0x1f) == 0x1f;
        while (goes_on && position < count) goes_on = (block[position++] & 0x80) != 0;
    }
    return position < count && (uint8_t)block[position] == (0x80 | 8);
}

static const char *end_stream(struct connection *connection, struct stream *stream) {
    if (!stream->has_head || stream->left > 0) return "stream ended early";
    complete(connection, stream);
    return NULL;
}

/// A whole frame other than DATA is in `head`. Returns why the connection is lost, or NULL.
static const char *read_frame(struct connection *connection) {
    static const char settings_ack[FRAME_HEAD] = {0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0};
    struct stream *stream = stream_of(connection, connection->frame_stream);
    switch (connection->frame_type) {
    case HEADERS:
        if (stream == NULL || connection->frame_stream == 0) return "head of a stream that is not there";
        if ((connection->frame_flags & (END_HEADERS | PADDED)) != END_HEADERS) return "head in an unexpected form";
        // What comes after content are trailers.
        if (!stream->has_head && !is_200(connection->head, connection->head_count))
            return "not the answer that was asked for";
        stream->has_head = true;
        return connection->frame_flags & END_STREAM ? end_stream(connection, stream) : NULL;
    case SETTINGS:
        if (connection->frame_flags & ACK) return NULL;
        for (size_t i = 0; i + 6 <= connection->head_count; i += 6)
            if (big_endian(connection->head + i, 2) == 1 && big_endian(connection->head + i + 2, 4) < 4096)
                return "smaller table than the questions need";
        return give(connection, settings_ack, FRAME_HEAD) == FRAME_HEAD ? NULL : "acknowledgement";
    case PING: {
        char pong[FRAME_HEAD + 8] = {0, 0, 8, PING, ACK};
        if (connection->frame_flags & ACK) return NULL;
        memcpy(pong + FRAME_HEAD, connection->head, 8);
        return give(connection, pong, sizeof pong) == sizeof pong ? NULL : "pong";
    }
    case RST_STREAM: return "stream reset";
    case GOAWAY: return "GOAWAY";
    default: return NULL;
    }
}

static const char *read_content(struct connection *connection, size_t count) {
    struct stream *stream = stream_of(connection, connection->frame_stream);
    if (stream == NULL || connection->frame_stream == 0) return "content of a stream that is not there";
    if (count > stream->left) return "more content than was asked for";
    stream->left -= count;
    // The window of the connection has 2 GiB: it is opened again by the half.
    connection->taken += count;
    if (connection->taken < 1 << 30) return NULL;
    char frame[FRAME_HEAD + 4] = {0, 0, 4, WINDOW_UPDATE};
    for (int i = 0; i < 4; i++) frame[FRAME_HEAD + i] = (char)(connection->taken >> (24 - 8 * i));
    connection->taken = 0;
    return give(connection, frame, sizeof frame) == sizeof frame ? NULL : "window update";
}

static const char *end_frame(struct connection *connection) {
    const char *why = NULL;
    if (connection->frame_type != DATA) {
        why = read_frame(connection);
    } else if (connection->frame_flags & END_STREAM) {
        struct stream *stream = stream_of(connection, connection->frame_stream);
        why = stream == NULL ? "end of a stream that is not there" : end_stream(connection, stream);
    }
    connection->is_in_frame = false;
    connection->head_count = 0;
    return why;
}

/// Reads the frames in some bytes. Returns why the connection is lost, or NULL.
static const char *read_frames(struct connection *connection, const char *bytes, size_t count) {
    const char *why = NULL;
    while (count > 0 && why == NULL) {
        size_t wanted = connection->is_in_frame ? connection->frame_left : FRAME_HEAD - connection->head_count;
        size_t some = wanted < count ? wanted : count;
        if (connection->is_in_frame && connection->frame_type == DATA) {
            why = read_content(connection, some);
        } else {
            if (connection->head_count + some > HEAD_MAX) return "frame too long";
            memcpy(connection->head + connection->head_count, bytes, some);
            connection->head_count += some;
        }
        bytes += some;
        count -= some;
        if (connection->is_in_frame) {
            connection->frame_left -= (uint32_t)some;
        } else if (connection->head_count == FRAME_HEAD) {
            connection->is_in_frame = true;
            connection->frame_left = big_endian(connection->head, 3);
            connection->frame_type = (uint8_t)connection->head[3];
            connection->frame_flags = (uint8_t)connection->head[4];
            connection->frame_stream = big_endian(connection->head + 5, 4) & 0x7fffffff;
            connection->head_count = 0;
            if (connection->frame_type == DATA && connection->frame_flags & PADDED) return "content in an unexpected form";
        }
        if (why == NULL && connection->is_in_frame && connection->frame_left == 0) why = end_frame(connection);
    }
    return why;
}

static const char *hear_http2(struct connection *connection) {
    for (;;) {
        ssize_t count = take(connection, buffer, sizeof buffer);
        if (count == NOTHING_NOW) return NULL;
        errno = count == 0 ? ECONNABORTED : errno;
        if (count == 0) return "early end";
        if (count == LOST) return "answer";
        const char *why = read_frames(connection, buffer, (size_t)count);
        errno = EPROTO;
        if (why != NULL) return why;
    }
}

// The loads.

static void hear(struct connection *connection, uint32_t events) {
    const char *why = NULL;
    // What is left of a closed connection's events is nothing to hear.
    if (connection->fd < 0) return;
    if (events & EPOLLOUT && !go_on_asking(connection)) why = "question";
    if (why == NULL && events & ~(uint32_t)EPOLLOUT)
        why = is_http2 ? hear_http2(connection) : hear_http1(connection);
    if (why != NULL) lose(connection, why);
}

static void wait_and_hear(const struct timespec *patience) {
    struct epoll_event events[EVENTS];
    int count = epoll_pwait2(epoll, events, EVENTS, patience, NULL);
    for (int i = 0; i < count; i++) hear(events[i].data.ptr, events[i].events);
}

/// Nanoseconds to the next request: random, so that requests meet as those of many clients do, but the same in every
/// run.
static uint64_t gap(void) {
    static uint64_t state = 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    double share = (double)((state >> 11) + 1) / (double)(1ull << 53);
    return (uint64_t)(-log(share) * 1e9 / options.rate);
}

/// So many requests; without a rate the next as soon as there is a place for it.
static void exchange(uint64_t total) {
    uint64_t asked = 0, due = now();
    answered = 0;
    while (answered < total) {
        while (asked < total && vacant.count > 0) {
            uint64_t time = now();
            if (options.rate == 0) due = time;
            if (due > time) break;
            asked++;
            ask(occupy(), due);
            if (options.rate > 0) due += gap();
        }
        if (options.rate == 0 || asked == total || vacant.count == 0) {
            wait_and_hear(NULL);
            continue;
        }
        uint64_t time = now(), rest = due > time ? due - time : 0;
        wait_and_hear(&(struct timespec){(time_t)(rest / 1000000000), (long)(rest % 1000000000)});
    }
}

static void run_requests(void) {
    make_connections(is_closing ? options.at_once : options.flows);
    exchange(options.warm_up);
    wait_for_start();
    exchange(options.count);
    report();
}

/// One after the other, so that a proxy's connections to its target are few.
static void ask_each(void) {
    static const struct timespec patience = {.tv_sec = 5};
    answered = 0;
    for (uint64_t asked = 1; asked <= (uint64_t)options.flows; asked++) {
        ask(occupy(), now());
        uint64_t began = now();
        while (answered < asked) {
            wait_and_hear(&patience);
            if (now() - began > 5000000000) fail("no answer on a resting connection");
        }
    }
}

static void run_idle(void) {
    make_connections(options.flows);
    ask_each();
    wait_for_start();
    ask_each();
    report();
}

int main(int count, char **arguments) {
    const char *mode = count > 1 ? arguments[1] : "";
    if (count > 1) parse(count - 1, arguments + 1);
    is_http2 = strncmp(mode, "http2-", 6) == 0;
    if (is_http2) mode += 6;
    is_closing = strcmp(mode, "closing") == 0;
    if (options.window > WINDOW_MAX || (!is_http2 && options.window > 1)) refuse("--window is out of range");
    if ((is_http2 && options.post > 0) || options.post > (int)sizeof buffer) refuse("--post is out of range");
    if (options.content < 0 || options.rate < 0 || strlen(options.path) > 100) refuse("an option is out of range");
    snprintf(path, sizeof path, "%s/%d", options.path, options.content);
    signal(SIGPIPE, SIG_IGN);
    // Or the kernel lets requests wait for 50 µs for others.
    prctl(PR_SET_TIMERSLACK, 1);
    epoll = check(epoll_create1(0), "epoll_create1");
    if (options.certificate != NULL) make_context();
    if (is_http2) make_http2_question();
    else make_http1_question();
    if (strcmp(mode, "requests") == 0 || is_closing) run_requests();
    else if (strcmp(mode, "idle") == 0) run_idle();
    else refuse("the modes stand at the top of http_load.c");
    return 0;
}
