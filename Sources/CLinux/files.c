// Files that are only ever appended to: logs.
#include "internal.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int weir_open_append(const char *path) {
    // O_NONBLOCK changes nothing for regular files, and keeps a FIFO without a reader from stopping the thread.
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK, 0640);
    return fd < 0 ? -errno : fd;
}

int weir_append(int fd, const void *bytes, size_t count, int patience_milliseconds) {
    const char *next = bytes;
    while (count > 0) {
        // Standard output may be a blocking pipe: a write of at most PIPE_BUF that poll allows never blocks.
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        int ready = poll(&room, 1, patience_milliseconds);
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0) return -errno;
        if (ready == 0) return -ETIMEDOUT;
        ssize_t written = write(fd, next, count < PIPE_BUF ? count : PIPE_BUF);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno == EAGAIN ? -ETIMEDOUT : -errno;
        next += written;
        count -= (size_t)written;
    }
    return 0;
}

uint64_t weir_realtime_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
