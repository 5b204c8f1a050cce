// The Linux calls that Swift's Glibc module does not show, as plain functions of plain values.
//
// Every function returns a count, a descriptor or zero, or -errno: errno itself never crosses the
// border, so nothing can overwrite it on the way. _GNU_SOURCE stays in the .c files: defining it in a
// header that Swift imports changes the types of other imported functions.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// MARK: Endpoints

/// An address and port; `family` is 4, 6, or 0 for none. IPv4 lives in the low 32 bits of `low`.
struct weir_endpoint {
    uint64_t high;
    uint64_t low;
    uint16_t port;
    uint8_t family;
};

// MARK: Sockets

enum weir_option {
    WEIR_OPTION_TCP_NODELAY,
    WEIR_OPTION_TCP_QUICKACK,
    WEIR_OPTION_LOCAL_PORT_RANGE,
    WEIR_OPTION_IPV4_TRANSPARENT,
    WEIR_OPTION_IPV6_TRANSPARENT,
    WEIR_OPTION_KEEPALIVE,
    WEIR_OPTION_TCP_KEEPIDLE,
    WEIR_OPTION_TCP_KEEPINTVL,
    WEIR_OPTION_TCP_KEEPCNT,
    WEIR_OPTION_TCP_DEFER_ACCEPT,
    WEIR_OPTION_REUSEADDR,
    WEIR_OPTION_REUSEPORT,
    WEIR_OPTION_IPV6_ONLY,
    WEIR_OPTION_IPV4_FREEBIND,
    WEIR_OPTION_IPV6_FREEBIND,
    WEIR_OPTION_BIND_ADDRESS_NO_PORT,
    WEIR_OPTION_IPV4_PKTINFO,
    WEIR_OPTION_IPV6_PKTINFO,
    WEIR_OPTION_UDP_GRO,
    WEIR_OPTION_RECEIVE_BUFFER,
    WEIR_OPTION_SEND_BUFFER,
};

/// socket(2), non-blocking and close-on-exec. `family` is 4 or 6.
int weir_socket(int family, bool is_datagram);
int weir_bind(int fd, const struct weir_endpoint *endpoint);
int weir_listen(int fd, int backlog);
/// accept4(2), non-blocking and close-on-exec.
int weir_accept(int fd, struct weir_endpoint *peer);
/// connect(2); -EINPROGRESS is the usual answer for TCP.
int weir_connect(int fd, const struct weir_endpoint *endpoint);
int weir_local_endpoint(int fd, struct weir_endpoint *endpoint);
int weir_set_option(int fd, enum weir_option option, int value);
int weir_set_congestion_control(int fd, const char *name);
/// Takes the pending error of a socket (SO_ERROR) as a positive number; zero when there is none.
int weir_take_socket_error(int fd);
int weir_shutdown_write(int fd);
int weir_close(int fd);
/// Closes with a reset instead of a FIN; see socket(7), SO_LINGER with a timeout of zero.
int weir_close_with_reset(int fd);

long weir_receive(int fd, void *buffer, size_t count);
/// The same without taking the bytes; see recv(2), MSG_PEEK.
long weir_peek(int fd, void *buffer, size_t count);
/// send(2) without SIGPIPE.
long weir_send(int fd, const void *buffer, size_t count);
/// The same when more follows at once, so that the kernel may wait to fill a segment (MSG_MORE).
long weir_send_more(int fd, const void *buffer, size_t count);
/// Puts a protocol of the kernel's on top of a TCP connection; see tcp(7), TCP_ULP.
int weir_set_upper_protocol(int fd, const char *name);
long weir_read(int fd, void *buffer, size_t count);
long weir_write(int fd, const void *buffer, size_t count);

// MARK: Pipes and splice

/// pipe2(2), non-blocking, with the capacity asked for where the system allows; returns the capacity it has.
int weir_pipe(int *read_end, int *write_end, int capacity);
/// splice(2) with SPLICE_F_MOVE and SPLICE_F_NONBLOCK.
long weir_splice(int from, int to, size_t count);

// MARK: epoll and eventfd

/// `struct epoll_event` is packed on some machines; Swift reads this one.
struct weir_event {
    uint64_t token;
    uint32_t readiness;
};

#define WEIR_READABLE 0x001u
#define WEIR_WRITABLE 0x004u
#define WEIR_ERROR 0x008u
#define WEIR_HANGUP 0x010u
#define WEIR_PEER_CLOSED 0x2000u
#define WEIR_EDGE_TRIGGERED 0x80000000u

int weir_epoll_create(void);
int weir_epoll_add(int epoll, int fd, uint32_t readiness, uint64_t token);
int weir_epoll_remove(int epoll, int fd);
/// Waits at most `timeout_milliseconds` (-1: for ever). -EINTR is turned into zero events.
int weir_epoll_wait(int epoll, struct weir_event *events, int count, int timeout_milliseconds);
int weir_eventfd(void);
int weir_eventfd_signal(int fd);
int weir_eventfd_clear(int fd);

// MARK: Datagrams

/// One received datagram, or several of equal size from one sender that the kernel joined (UDP_GRO).
struct weir_datagram {
    struct weir_endpoint peer;
    /// The address that the datagram was sent to (IP_PKTINFO), port zero; family zero when unknown.
    struct weir_endpoint local;
    uint32_t byte_count;
    /// The size of each joined datagram but the last; zero for a single one.
    uint32_t segment_byte_count;
    bool is_truncated;
};

/// Several datagrams of a batch that leave in one message, cut by the kernel (UDP_SEGMENT).
struct weir_datagram_run {
    uint32_t first;
    uint32_t count;
    /// Zero when the run is one plain datagram.
    uint32_t segment_byte_count;
};

struct weir_datagram_batch;

/// Buffers for `count` datagrams of up to 64 KiB each; NULL when memory is short.
struct weir_datagram_batch *weir_datagram_batch_create(unsigned count);
void weir_datagram_batch_destroy(struct weir_datagram_batch *batch);
/// recvmmsg(2): fills the batch and `datagrams`, returns how many.
int weir_datagram_batch_receive(
    struct weir_datagram_batch *batch, int fd, struct weir_datagram *datagrams, unsigned count);
/// sendmmsg(2): sends runs of the received datagrams on. `to` is NULL on a connected socket; `from`, when
/// given, chooses the source address. Returns how many runs were sent; the error of the first otherwise.
int weir_datagram_batch_send(
    struct weir_datagram_batch *batch, int fd, const struct weir_datagram_run *runs, unsigned count,
    const struct weir_endpoint *to, const struct weir_endpoint *from);
/// Sends the pieces of one run, each as a datagram of its own: for paths on which segmentation is refused.
int weir_datagram_batch_send_singly(
    struct weir_datagram_batch *batch, int fd, const struct weir_datagram_run *run,
    const struct weir_endpoint *to, const struct weir_endpoint *from);
/// Copies the first `byte_count` bytes of item `index` to `to`.
void weir_datagram_batch_copy(
    const struct weir_datagram_batch *batch, unsigned index, void *to, uint32_t byte_count);
/// Removes the first `byte_count` bytes of item `index`, whose rest moves to its front.
void weir_datagram_batch_remove(struct weir_datagram_batch *batch, unsigned index, uint32_t byte_count);

// MARK: Memory, time, randomness

/// Zeroed pages that take memory only when touched; NULL when refused.
void *weir_map(size_t byte_count);
void weir_unmap(void *address, size_t byte_count);
/// Gives pages back; they read as zero afterwards. See madvise(2), MADV_DONTNEED.
void weir_discard(void *address, size_t byte_count);
uint64_t weir_monotonic_nanoseconds(void);
int weir_random(void *buffer, size_t count);

static inline uint64_t weir_load(const uint64_t *counter) {
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/// For counters with one writer: a plain add, published whole.
static inline void weir_add(uint64_t *counter, uint64_t amount) {
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

static inline void weir_store(uint64_t *counter, uint64_t value) {
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

/// Sees all that was written before the `weir_store_release` whose value it loads.
static inline uint64_t weir_load_acquire(const uint64_t *position) {
    return __atomic_load_n(position, __ATOMIC_ACQUIRE);
}

static inline void weir_store_release(uint64_t *position, uint64_t value) {
    __atomic_store_n(position, value, __ATOMIC_RELEASE);
}

// MARK: Files that are appended to

/// open(2) for appending, created with mode 0640 when missing. Does not wait for the reader of a FIFO
/// (-ENXIO), and does not follow a symbolic link (-ELOOP).
int weir_open_append(const char *path);
/// write(2), all of it; -ETIMEDOUT when there is no room for so long. For pipes, at most PIPE_BUF bytes go whole.
int weir_append(int fd, const void *bytes, size_t count, int patience_milliseconds);
/// Nanoseconds since 1970; see clock_gettime(2), CLOCK_REALTIME.
uint64_t weir_realtime_nanoseconds(void);

// MARK: Process and threads

/// The processors of the affinity mask; returns how many there are, at most `count` are written.
int weir_affinity(int *processors, int count);
int weir_pin_thread(int processor);
int weir_name_thread(const char *name);
int weir_descriptor_limit(uint64_t *soft, uint64_t *hard);
int weir_set_descriptor_limit(uint64_t soft, uint64_t hard);
int weir_ignore_sigpipe(void);
int weir_no_new_privileges(void);
int weir_keep_capabilities(bool keeps);
int weir_drop_bounding_capability(int capability);
/// Becomes another user with that user's groups; see setresuid(2), initgroups(3).
int weir_become_user(const char *name, uint32_t uid, uint32_t gid);
/// The user and group id of a user's name; -ENOENT when there is none.
int weir_find_user(const char *name, uint32_t *uid, uint32_t *gid);
/// The id of a group's name; -ENOENT when there is none.
int weir_find_group(const char *name, uint32_t *gid);
/// The message of an errno, into `buffer`.
void weir_describe_error(int number, char *buffer, size_t count);
/// The symbolic name of an errno, such as "EACCES"; "errno" for one without a name.
const char *weir_error_name(int number);

// MARK: Handing open files over

/// SCM_MAX_FD: more descriptors in one message are refused by the kernel.
#define WEIR_DESCRIPTORS_PER_MESSAGE 253

/// What a socket that somebody else opened is.
struct weir_socket_description {
    /// Family zero for a Unix socket.
    struct weir_endpoint local;
    bool is_stream;
    bool is_datagram;
    bool is_listening;
    /// SO_REUSEPORT is set.
    bool shares_port;
    /// Of a Unix socket with a name in the file system; empty otherwise.
    char path[109];
};

/// socketpair(2) of SOCK_SEQPACKET, close-on-exec.
int weir_message_pair(int *one, int *other);
/// sendmsg(2) with SCM_RIGHTS; waits for room until the monotonic deadline, then -ETIMEDOUT.
long weir_send_message(
    int fd, const void *bytes, size_t count, const int *descriptors, unsigned descriptor_count,
    uint64_t deadline);
/// recvmsg(2): zero at the end of the conversation, -ETIMEDOUT after the deadline. `descriptors` has room for
/// WEIR_DESCRIPTORS_PER_MESSAGE; they are close-on-exec. -EMFILE when some found no room in this process.
long weir_receive_message(
    int fd, void *bytes, size_t count, int *descriptors, unsigned *descriptor_count, uint64_t deadline);
int weir_describe_socket(int fd, struct weir_socket_description *description);
/// Non-blocking and close-on-exec, as every descriptor of Weir is.
int weir_make_nonblocking(int fd);
/// posix_spawn(3) with default signals and one inherited descriptor, which keeps its number. Passes
/// CAP_NET_BIND_SERVICE and CAP_NET_ADMIN on where the calling thread has them. Returns the process id.
int weir_spawn(const char *path, char *const *arguments, char *const *environment, int inherited);
/// kill(2) with SIGKILL.
int weir_kill(int pid);
/// waitpid(2) until the monotonic deadline; the exit status, or 128 and the signal.
int weir_reap(int pid, uint64_t deadline);

// MARK: Fault injection (debug builds)

enum weir_call {
    WEIR_CALL_SOCKET = 1 << 0,
    WEIR_CALL_BIND = 1 << 1,
    WEIR_CALL_LISTEN = 1 << 2,
    WEIR_CALL_ACCEPT = 1 << 3,
    WEIR_CALL_CONNECT = 1 << 4,
    WEIR_CALL_OPTION = 1 << 5,
    WEIR_CALL_SHUTDOWN = 1 << 6,
    WEIR_CALL_RECEIVE = 1 << 7,
    WEIR_CALL_SEND = 1 << 8,
    WEIR_CALL_PIPE = 1 << 9,
    WEIR_CALL_SPLICE = 1 << 10,
    WEIR_CALL_EPOLL_ADD = 1 << 11,
    WEIR_CALL_EPOLL_WAIT = 1 << 12,
    WEIR_CALL_RECEIVE_DATAGRAMS = 1 << 13,
    WEIR_CALL_SEND_DATAGRAMS = 1 << 14,
    WEIR_CALL_LOCAL_ENDPOINT = 1 << 15,
};

/// True when this build can make calls fail.
bool weir_faults_available(void);
/// Makes the n-th call (from 1) among `calls` fail with `error`, on threads that took part. One at a time.
void weir_fault_arm(uint32_t calls, uint64_t nth, int error);
/// Ends the plan; returns whether the fault was delivered.
bool weir_fault_disarm(void);
/// The calling thread takes part in fault plans from now on, or no longer.
void weir_fault_take_part(bool takes_part);
/// How many calls among `calls` the participating threads have made since the last arm.
uint64_t weir_fault_call_count(void);
/// How many more descriptors the participating threads have opened than closed.
int64_t weir_fault_descriptor_count(void);
