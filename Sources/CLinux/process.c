// Memory, time, randomness, threads, limits, privileges.
#include "internal.h"

#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void *weir_map(size_t byte_count) {
    void *address = mmap(
        NULL, byte_count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

void weir_unmap(void *address, size_t byte_count) { munmap(address, byte_count); }

void weir_discard(void *address, size_t byte_count) { madvise(address, byte_count, MADV_DONTNEED); }

uint64_t weir_monotonic_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int weir_random(void *buffer, size_t count) {
    ssize_t result = getrandom(buffer, count, 0);
    return result < 0 ? -errno : (size_t)result == count ? 0 : -EIO;
}

int weir_affinity(int *processors, int count) {
    // More processors than cpu_set_t knows are possible; a mask of 8,192 covers every kernel so far.
    cpu_set_t *mask = CPU_ALLOC(8192);
    if (!mask) return -ENOMEM;
    size_t size = CPU_ALLOC_SIZE(8192);
    if (sched_getaffinity(0, size, mask) < 0) {
        int error = errno;
        CPU_FREE(mask);
        return -error;
    }
    int found = 0;
    for (int processor = 0; processor < 8192; processor++) {
        if (!CPU_ISSET_S(processor, size, mask)) continue;
        if (found < count) processors[found] = processor;
        found++;
    }
    CPU_FREE(mask);
    return found;
}

int weir_pin_thread(int processor) {
    cpu_set_t *mask = CPU_ALLOC(8192);
    if (!mask) return -ENOMEM;
    size_t size = CPU_ALLOC_SIZE(8192);
    CPU_ZERO_S(size, mask);
    CPU_SET_S(processor, size, mask);
    int result = sched_setaffinity(0, size, mask) < 0 ? -errno : 0;
    CPU_FREE(mask);
    return result;
}

int weir_name_thread(const char *name) { return -pthread_setname_np(pthread_self(), name); }

int weir_descriptor_limit(uint64_t *soft, uint64_t *hard) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    *soft = limit.rlim_cur;
    *hard = limit.rlim_max;
    return 0;
}

int weir_set_descriptor_limit(uint64_t soft, uint64_t hard) {
    struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

int weir_ignore_sigpipe(void) { return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -errno : 0; }

int weir_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0; }

int weir_keep_capabilities(bool keeps) { return prctl(PR_SET_KEEPCAPS, keeps, 0, 0, 0) < 0 ? -errno : 0; }

int weir_drop_bounding_capability(int capability) {
    return prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 ? -errno : 0;
}

int weir_find_user(const char *name, uint32_t *uid, uint32_t *gid) {
    errno = 0;
    struct passwd *entry = getpwnam(name);
    if (!entry) return errno ? -errno : -ENOENT;
    *uid = entry->pw_uid;
    *gid = entry->pw_gid;
    return 0;
}

int weir_find_group(const char *name, uint32_t *gid) {
    errno = 0;
    struct group *entry = getgrnam(name);
    if (!entry) return errno ? -errno : -ENOENT;
    *gid = entry->gr_gid;
    return 0;
}

int weir_become_user(const char *name, uint32_t uid, uint32_t gid) {
    if (initgroups(name, gid) < 0) return -errno;
    if (setresgid(gid, gid, gid) < 0) return -errno;
    if (setresuid(uid, uid, uid) < 0) return -errno;
    return 0;
}

void weir_describe_error(int number, char *buffer, size_t count) {
    const char *text = strerrordesc_np(number);
    strncpy(buffer, text ? text : "unknown error", count - 1);
    buffer[count - 1] = 0;
}

const char *weir_error_name(int number) {
    const char *name = strerrorname_np(number);
    return name ? name : "errno";
}
