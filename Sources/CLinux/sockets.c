// Sockets, pipes, splice, epoll, eventfd.
#include "internal.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

_Static_assert(EPOLLIN == WEIR_READABLE && EPOLLOUT == WEIR_WRITABLE, "readiness bits are epoll's");
_Static_assert(EPOLLERR == WEIR_ERROR && EPOLLHUP == WEIR_HANGUP, "readiness bits are epoll's");
_Static_assert(EPOLLRDHUP == WEIR_PEER_CLOSED && EPOLLET == WEIR_EDGE_TRIGGERED, "readiness bits are epoll's");

int weir_socket(int family, bool is_datagram) {
    int type = (is_datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = (int)WEIR_RESULT(WEIR_CALL_SOCKET, socket(family == 4 ? AF_INET : AF_INET6, type, 0));
    if (fd >= 0) weir_fault_count_descriptors(1);
    return fd;
}

int weir_bind(int fd, const struct weir_endpoint *endpoint) {
    union weir_sockaddr address;
    socklen_t length = weir_to_sockaddr(endpoint, &address);
    return (int)WEIR_RESULT(WEIR_CALL_BIND, bind(fd, &address.any, length));
}

int weir_listen(int fd, int backlog) {
    return (int)WEIR_RESULT(WEIR_CALL_LISTEN, listen(fd, backlog));
}

int weir_accept(int fd, struct weir_endpoint *peer) {
    union weir_sockaddr address;
    socklen_t length = sizeof address;
    int accepted = (int)WEIR_RESULT_UNINTERRUPTED(
        WEIR_CALL_ACCEPT, accept4(fd, &address.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (accepted >= 0) {
        weir_fault_count_descriptors(1);
        weir_from_sockaddr(&address, peer);
    }
    return accepted;
}

int weir_connect(int fd, const struct weir_endpoint *endpoint) {
    union weir_sockaddr address;
    socklen_t length = weir_to_sockaddr(endpoint, &address);
    return (int)WEIR_RESULT(WEIR_CALL_CONNECT, connect(fd, &address.any, length));
}

int weir_local_endpoint(int fd, struct weir_endpoint *endpoint) {
    union weir_sockaddr address;
    socklen_t length = sizeof address;
    int result = (int)WEIR_RESULT(WEIR_CALL_LOCAL_ENDPOINT, getsockname(fd, &address.any, &length));
    if (result == 0) weir_from_sockaddr(&address, endpoint);
    return result;
}

static const struct {
    int level, name;
} options[] = {
    [WEIR_OPTION_TCP_NODELAY] = {IPPROTO_TCP, TCP_NODELAY},
    [WEIR_OPTION_TCP_QUICKACK] = {IPPROTO_TCP, TCP_QUICKACK},
    [WEIR_OPTION_LOCAL_PORT_RANGE] = {IPPROTO_IP, IP_LOCAL_PORT_RANGE},
    [WEIR_OPTION_IPV4_TRANSPARENT] = {IPPROTO_IP, IP_TRANSPARENT},
    [WEIR_OPTION_IPV6_TRANSPARENT] = {IPPROTO_IPV6, IPV6_TRANSPARENT},
    [WEIR_OPTION_KEEPALIVE] = {SOL_SOCKET, SO_KEEPALIVE},
    [WEIR_OPTION_TCP_KEEPIDLE] = {IPPROTO_TCP, TCP_KEEPIDLE},
    [WEIR_OPTION_TCP_KEEPINTVL] = {IPPROTO_TCP, TCP_KEEPINTVL},
    [WEIR_OPTION_TCP_KEEPCNT] = {IPPROTO_TCP, TCP_KEEPCNT},
    [WEIR_OPTION_TCP_DEFER_ACCEPT] = {IPPROTO_TCP, TCP_DEFER_ACCEPT},
    [WEIR_OPTION_REUSEADDR] = {SOL_SOCKET, SO_REUSEADDR},
    [WEIR_OPTION_REUSEPORT] = {SOL_SOCKET, SO_REUSEPORT},
    [WEIR_OPTION_IPV6_ONLY] = {IPPROTO_IPV6, IPV6_V6ONLY},
    [WEIR_OPTION_IPV4_FREEBIND] = {IPPROTO_IP, IP_FREEBIND},
    [WEIR_OPTION_IPV6_FREEBIND] = {IPPROTO_IPV6, IPV6_FREEBIND},
    [WEIR_OPTION_BIND_ADDRESS_NO_PORT] = {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT},
    [WEIR_OPTION_IPV4_PKTINFO] = {IPPROTO_IP, IP_PKTINFO},
    [WEIR_OPTION_IPV6_PKTINFO] = {IPPROTO_IPV6, IPV6_RECVPKTINFO},
    [WEIR_OPTION_UDP_GRO] = {IPPROTO_UDP, UDP_GRO},
    [WEIR_OPTION_RECEIVE_BUFFER] = {SOL_SOCKET, SO_RCVBUF},
    [WEIR_OPTION_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF},
};

int weir_set_option(int fd, enum weir_option option, int value) {
    return (int)WEIR_RESULT(
        WEIR_CALL_OPTION,
        setsockopt(fd, options[option].level, options[option].name, &value, sizeof value));
}

int weir_set_congestion_control(int fd, const char *name) {
    return (int)WEIR_RESULT(
        WEIR_CALL_OPTION, setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)));
}

int weir_set_upper_protocol(int fd, const char *name) {
    return (int)WEIR_RESULT(
        WEIR_CALL_OPTION, setsockopt(fd, IPPROTO_TCP, TCP_ULP, name, (socklen_t)strlen(name)));
}

int weir_take_socket_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 ? errno : error;
}

int weir_shutdown_write(int fd) {
    return (int)WEIR_RESULT(WEIR_CALL_SHUTDOWN, shutdown(fd, SHUT_WR));
}

int weir_close(int fd) {
    // Never injected and never retried: on Linux the descriptor is gone even after EINTR.
    weir_fault_count_descriptors(-1);
    return close(fd) < 0 ? -errno : 0;
}

int weir_close_with_reset(int fd) {
    struct linger abortive = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abortive, sizeof abortive);
    return weir_close(fd);
}

// Past the C library, whose wrappers are cancellation points and pay for that with two atomic exchanges a call.
long weir_receive(int fd, void *buffer, size_t count) {
    return WEIR_RESULT_UNINTERRUPTED(
        WEIR_CALL_RECEIVE, syscall(SYS_recvfrom, fd, buffer, count, 0, NULL, NULL));
}

long weir_peek(int fd, void *buffer, size_t count) {
    return WEIR_RESULT_UNINTERRUPTED(WEIR_CALL_RECEIVE, recv(fd, buffer, count, MSG_PEEK));
}

long weir_send(int fd, const void *buffer, size_t count) {
    return WEIR_RESULT_UNINTERRUPTED(
        WEIR_CALL_SEND, syscall(SYS_sendto, fd, buffer, count, MSG_NOSIGNAL, NULL, 0));
}

long weir_send_more(int fd, const void *buffer, size_t count) {
    return WEIR_RESULT_UNINTERRUPTED(WEIR_CALL_SEND, send(fd, buffer, count, MSG_NOSIGNAL | MSG_MORE));
}

long weir_read(int fd, void *buffer, size_t count) {
    ssize_t result = read(fd, buffer, count);
    return result < 0 ? -errno : result;
}

long weir_write(int fd, const void *buffer, size_t count) {
    ssize_t result = write(fd, buffer, count);
    return result < 0 ? -errno : result;
}

int weir_pipe(int *read_end, int *write_end, int capacity) {
    int ends[2];
    int result = (int)WEIR_RESULT(WEIR_CALL_PIPE, pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    if (result < 0) return result;
    weir_fault_count_descriptors(2);
    *read_end = ends[0];
    *write_end = ends[1];
    // An unprivileged user past fs.pipe-user-pages-soft is refused: the pipe then keeps what it has.
    fcntl(ends[1], F_SETPIPE_SZ, capacity);
    int actual = fcntl(ends[1], F_GETPIPE_SZ);
    return actual < 0 ? 0 : actual;
}

long weir_splice(int from, int to, size_t count) {
    return WEIR_RESULT_UNINTERRUPTED(
        WEIR_CALL_SPLICE, splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}

int weir_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int weir_epoll_add(int epoll, int fd, uint32_t readiness, uint64_t token) {
    struct epoll_event event = {.events = readiness, .data = {.u64 = token}};
    return (int)WEIR_RESULT(WEIR_CALL_EPOLL_ADD, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

int weir_epoll_remove(int epoll, int fd) {
    return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

int weir_epoll_wait(int epoll, struct weir_event *events, int count, int timeout_milliseconds) {
    struct epoll_event ready[256];
    if (count > 256) count = 256;
    long result = WEIR_RESULT(WEIR_CALL_EPOLL_WAIT, epoll_wait(epoll, ready, count, timeout_milliseconds));
    // A signal is no failure: returning it would end the worker.
    if (result == -EINTR) return 0;
    for (long index = 0; index < result; index++) {
        events[index].token = ready[index].data.u64;
        events[index].readiness = ready[index].events;
    }
    return (int)result;
}

int weir_eventfd(void) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int weir_eventfd_signal(int fd) {
    uint64_t one = 1;
    return write(fd, &one, sizeof one) < 0 ? -errno : 0;
}

int weir_eventfd_clear(int fd) {
    uint64_t count;
    return read(fd, &count, sizeof count) < 0 ? -errno : 0;
}
