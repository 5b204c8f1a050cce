// libnghttp2 1.52: framing and HPACK of HTTP/2, and the memory its sessions are made of.
//
// A session of the library holds a frame buffer of 16 KiB from its first day on, and uses it only while it writes
// frames. One thread's sessions write one after the other, so they are lent the same buffer: an idle connection
// costs a fifth of what it would. Whoever writes must not leave in the middle of a frame.
#pragma once

#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <nghttp2/nghttp2.h>

#if NGHTTP2_VERSION_NUM < 0x013400
#error "nghttp2 1.52 or later is needed; install libnghttp2-dev of Debian 12 or later"
#endif

/// What a first frame buffer is asked for: a head, a pad length and the largest payload sent.
enum { WEIR_FRAME_BUFFER_SIZE = 9 + 1 + 16384 };

/// Where one worker's sessions get their memory.
typedef struct {
    uint8_t *frame_buffer;
    /// A session is being made: a piece of the size of a frame buffer is the shared one.
    bool is_lending;
    /// Bytes and pieces that the sessions hold, the shared buffer excepted; kept when `is_counting`.
    bool is_counting;
    int64_t byte_count;
    int64_t piece_count;
    /// Pieces asked for so far.
    int64_t request_count;
} weir_session_memory;

static inline void weir_memory_count(weir_session_memory *memory, void *piece, int sign) {
    if (!memory->is_counting || !piece) return;
    memory->byte_count += sign * (int64_t)malloc_usable_size(piece);
    memory->piece_count += sign;
    memory->request_count += sign > 0;
}

static inline void *weir_memory_malloc(size_t size, void *user) {
    weir_session_memory *memory = (weir_session_memory *)user;
    if (memory->is_lending && size == WEIR_FRAME_BUFFER_SIZE) return memory->frame_buffer;
    void *piece = malloc(size);
    weir_memory_count(memory, piece, 1);
    return piece;
}

static inline void weir_memory_free(void *piece, void *user) {
    weir_session_memory *memory = (weir_session_memory *)user;
    if (piece == (void *)memory->frame_buffer) return;
    weir_memory_count(memory, piece, -1);
    free(piece);
}

static inline void *weir_memory_calloc(size_t count, size_t size, void *user) {
    void *piece = calloc(count, size);
    weir_memory_count((weir_session_memory *)user, piece, 1);
    return piece;
}

static inline void *weir_memory_realloc(void *piece, size_t size, void *user) {
    weir_session_memory *memory = (weir_session_memory *)user;
    if (!piece) return weir_memory_malloc(size, user);
    // The shared buffer is never made larger: that takes a callback which is not set. NULL says no memory.
    if (piece == (void *)memory->frame_buffer) return NULL;
    weir_memory_count(memory, piece, -1);
    void *moved = realloc(piece, size);
    weir_memory_count(memory, moved ? moved : piece, 1);
    return moved;
}

static inline int weir_session_new(
    nghttp2_session **session, bool is_server, const nghttp2_session_callbacks *callbacks, void *user,
    const nghttp2_option *option, weir_session_memory *memory) {
    nghttp2_mem functions = {
        memory, weir_memory_malloc, weir_memory_free, weir_memory_calloc, weir_memory_realloc,
    };
    memory->is_lending = true;
    int result = is_server ? nghttp2_session_server_new3(session, callbacks, user, option, &functions)
                           : nghttp2_session_client_new3(session, callbacks, user, option, &functions);
    memory->is_lending = false;
    if (result == 0 && !is_server) {
        // The library has put the client's preface into the buffer that others write to as well. It is taken out
        // at once and sent by the caller.
        const uint8_t *preface;
        ssize_t count = nghttp2_session_mem_send(*session, &preface);
        if (count != NGHTTP2_CLIENT_MAGIC_LEN) {
            nghttp2_session_del(*session);
            return NGHTTP2_ERR_INTERNAL;
        }
    }
    return result;
}

// Members of the union that a frame is, for the frames that are looked into.

static inline uint32_t weir_frame_reset_code(const nghttp2_frame *frame) { return frame->rst_stream.error_code; }
static inline int32_t weir_frame_last_stream(const nghttp2_frame *frame) { return frame->goaway.last_stream_id; }
static inline uint32_t weir_frame_goaway_code(const nghttp2_frame *frame) { return frame->goaway.error_code; }
static inline int weir_frame_headers_category(const nghttp2_frame *frame) { return (int)frame->headers.cat; }
