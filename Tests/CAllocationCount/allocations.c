// glibc lets a program define malloc for itself and still reach its own as __libc_malloc.
#include <semaphore.h>
#include "CAllocationCount.h"

#include <malloc.h>
#include <stddef.h>

static _Thread_local bool takes_part __attribute__((tls_model("initial-exec")));
static uint64_t count;
// The calling thread's bytes, with malloc's header of eight on each piece; freed elsewhere, they stay counted.
static _Thread_local uint64_t own_count __attribute__((tls_model("initial-exec")));
static _Thread_local int64_t live_bytes __attribute__((tls_model("initial-exec")));

// A sanitizer has a malloc of its own, which must not be stood in for; nothing is counted then.
#if !__has_feature(thread_sanitizer) && !__has_feature(address_sanitizer)

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static inline void *note(void *pointer) {
    if (takes_part) {
        __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
        own_count += 1;
        if (pointer) live_bytes += (int64_t)malloc_usable_size(pointer) + 8;
    }
    return pointer;
}

static inline void *forget(void *pointer) {
    if (takes_part && pointer) live_bytes -= (int64_t)malloc_usable_size(pointer) + 8;
    return pointer;
}

void *malloc(size_t size) {
    return note(__libc_malloc(size));
}

void *calloc(size_t number, size_t size) {
    return note(__libc_calloc(number, size));
}

void *realloc(void *pointer, size_t size) {
    forget(pointer);
    return note(__libc_realloc(pointer, size));
}

void *memalign(size_t alignment, size_t size) {
    return note(__libc_memalign(alignment, size));
}

void *aligned_alloc(size_t alignment, size_t size) {
    return note(__libc_memalign(alignment, size));
}

int posix_memalign(void **pointer, size_t alignment, size_t size) {
    *pointer = note(__libc_memalign(alignment, size));
    return *pointer ? 0 : 12;
}

void free(void *pointer) { __libc_free(forget(pointer)); }
#endif

void allocation_count_take_part(bool takes) { takes_part = takes; }

uint64_t allocation_count(void) { return __atomic_load_n(&count, __ATOMIC_RELAXED); }

uint64_t allocation_own_count(void) { return own_count; }

int64_t allocation_live_byte_count(void) { return live_bytes; }

static sem_t instruments;

__attribute__((constructor)) static void make_instruments(void) { sem_init(&instruments, 0, 1); }

void instruments_take(void) {
    while (sem_wait(&instruments) != 0) {}
}

void instruments_give_back(void) { sem_post(&instruments); }
