// Open files from process to process: SCM_RIGHTS, and the start of a successor that inherits one end.
//
// Here and not in Swift because control messages are walked by macros that do not import; see unix(7),
// cmsg(3), posix_spawn(3).
#include "internal.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

_Static_assert(WEIR_DESCRIPTORS_PER_MESSAGE == 253, "SCM_MAX_FD of the kernel");

union rights {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(int) * WEIR_DESCRIPTORS_PER_MESSAGE)];
};

int weir_message_pair(int *one, int *other) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return -errno;
    // A message of the largest size must fit, whatever the system's default is. Capped at wmem_max.
    int byte_count = 256 << 10;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &byte_count, sizeof byte_count);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &byte_count, sizeof byte_count);
    *one = ends[0];
    *other = ends[1];
    return 0;
}

// Waits for readiness until the monotonic deadline; -ETIMEDOUT when it passes first.
static int await(int fd, short events, uint64_t deadline) {
    for (;;) {
        uint64_t now = weir_monotonic_nanoseconds();
        if (now >= deadline) return -ETIMEDOUT;
        uint64_t left = (deadline - now) / 1000000u + 1;
        struct pollfd watched = {.fd = fd, .events = events};
        int result = poll(&watched, 1, left > 60000 ? 60000 : (int)left);
        if (result > 0) return 0;
        if (result < 0 && errno != EINTR) return -errno;
    }
}

long weir_send_message(
    int fd, const void *bytes, size_t count, const int *descriptors, unsigned descriptor_count,
    uint64_t deadline) {
    if (descriptor_count > WEIR_DESCRIPTORS_PER_MESSAGE) return -EINVAL;
    union rights rights;
    struct iovec vector = {(void *)(uintptr_t)bytes, count};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (descriptor_count > 0) {
        memset(&rights, 0, sizeof rights);
        message.msg_control = &rights;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
        struct cmsghdr *item = CMSG_FIRSTHDR(&message);
        item->cmsg_level = SOL_SOCKET;
        item->cmsg_type = SCM_RIGHTS;
        item->cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
        memcpy(CMSG_DATA(item), descriptors, sizeof(int) * descriptor_count);
    }
    for (;;) {
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) return sent;
        if (errno == EINTR) continue;
        if (errno == ETOOMANYREFS) {
            // As many descriptors are under way as this user may have open: the other side has to take some.
            if (weir_monotonic_nanoseconds() >= deadline) return -ETOOMANYREFS;
            poll(NULL, 0, 1);
            continue;
        }
        if (errno != EAGAIN) return -errno;
        int result = await(fd, POLLOUT, deadline);
        if (result < 0) return result;
    }
}

long weir_receive_message(
    int fd, void *bytes, size_t count, int *descriptors, unsigned *descriptor_count, uint64_t deadline) {
    *descriptor_count = 0;
    union rights rights;
    struct iovec vector = {bytes, count};
    struct msghdr message;
    ssize_t received;
    for (;;) {
        message = (struct msghdr){
            .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights};
        received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (received >= 0) break;
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return -errno;
        int result = await(fd, POLLIN, deadline);
        if (result < 0) return result;
    }
    unsigned found = 0;
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
        if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
        unsigned in_item = (unsigned)((item->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (unsigned index = 0; index < in_item && found < WEIR_DESCRIPTORS_PER_MESSAGE; index++) {
            memcpy(&descriptors[found], CMSG_DATA(item) + index * sizeof(int), sizeof(int));
            found++;
        }
    }
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        // What did arrive belongs to us, and nobody else will close it.
        for (unsigned index = 0; index < found; index++) close(descriptors[index]);
        return message.msg_flags & MSG_CTRUNC ? -EMFILE : -EMSGSIZE;
    }
    *descriptor_count = found;
    return received;
}

int weir_describe_socket(int fd, struct weir_socket_description *description) {
    memset(description, 0, sizeof *description);
    int value;
    socklen_t length = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length) < 0) return -errno;
    description->is_stream = value == SOCK_STREAM;
    description->is_datagram = value == SOCK_DGRAM;
    length = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0) description->is_listening = value;
    length = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, &length) == 0) description->shares_port = value;
    union {
        union weir_sockaddr inet;
        struct sockaddr_un local;
        struct sockaddr_storage room;
    } address;
    memset(&address, 0, sizeof address);
    length = sizeof address;
    if (getsockname(fd, &address.inet.any, &length) < 0) return -errno;
    if (address.inet.any.sa_family == AF_UNIX) {
        size_t byte_count = length > offsetof(struct sockaddr_un, sun_path)
                                ? length - offsetof(struct sockaddr_un, sun_path) : 0;
        if (byte_count >= sizeof description->path) byte_count = sizeof description->path - 1;
        memcpy(description->path, address.local.sun_path, byte_count);
    } else {
        weir_from_sockaddr(&address.inet, &description->local);
    }
    return 0;
}

int weir_make_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

// What a successor needs of this process's capabilities, where this process has it.
static const int lent_capabilities[] = {CAP_NET_BIND_SERVICE, CAP_NET_ADMIN};
enum { lent_capability_count = sizeof lent_capabilities / sizeof lent_capabilities[0] };

// Raises or lowers a capability in the calling thread's inheritable set; see capset(2).
static int set_inheritable(int capability, int inherits) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) < 0) return -errno;
    // Both are in the first word.
    uint32_t bit = 1u << capability;
    if (!(data[0].permitted & bit)) return -EPERM;
    if (inherits) data[0].inheritable |= bit;
    else data[0].inheritable &= ~bit;
    return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int weir_spawn(const char *path, char *const *arguments, char *const *environment, int inherited) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int error = posix_spawnattr_init(&attributes);
    if (error) return -error;
    error = posix_spawn_file_actions_init(&actions);
    if (error) {
        posix_spawnattr_destroy(&attributes);
        return -error;
    }
    // The same number on both sides: glibc then only clears the close-on-exec flag, in the child.
    posix_spawn_file_actions_adddup2(&actions, inherited, inherited);
    sigset_t none, ours;
    sigemptyset(&none);
    sigemptyset(&ours);
    const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE, SIGCHLD};
    for (size_t index = 0; index < sizeof signals / sizeof signals[0]; index++) sigaddset(&ours, signals[index]);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &ours);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    // A process that is not root loses its capabilities in exec unless they are ambient; and no_new_privs
    // keeps file capabilities from giving them back. Both sets belong to this thread alone.
    int is_lent[lent_capability_count];
    for (int index = 0; index < lent_capability_count; index++)
        is_lent[index] = set_inheritable(lent_capabilities[index], 1) == 0 &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, lent_capabilities[index], 0, 0) == 0;
    pid_t pid = 0;
    error = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
    for (int index = 0; index < lent_capability_count; index++) {
        if (is_lent[index]) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, lent_capabilities[index], 0, 0);
        set_inheritable(lent_capabilities[index], 0);
    }

    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error ? -error : pid;
}

int weir_kill(int pid) { return kill(pid, SIGKILL) < 0 ? -errno : 0; }

int weir_reap(int pid, uint64_t deadline) {
    for (;;) {
        int status = 0;
        pid_t result = waitpid(pid, &status, WNOHANG);
        if (result < 0 && errno != EINTR) return -errno;
        if (result == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (weir_monotonic_nanoseconds() >= deadline) return -ETIMEDOUT;
        poll(NULL, 0, 5);
    }
}
