// Batches of datagrams: recvmmsg(2) with UDP_GRO and packet info in, sendmmsg(2) with UDP_SEGMENT out.
//
// Here and not in Swift because control messages are walked by macros that do not import.
#include "internal.h"

#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

// A joined datagram can be as large as an IP packet. The odd page and line more keep the beginnings of the
// slots, all that small datagrams use of them, from sharing one set of the processor's caches.
enum { slot_byte_count = 65536 + 4096 + 64 };

union control {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(int))];
};

struct weir_datagram_batch {
    unsigned count;
    char *bytes;
    struct mmsghdr *messages;
    struct iovec *vectors;
    union weir_sockaddr *addresses;
    union control *controls;
    uint32_t *byte_counts;
    // How many headers the last receive wrote into, which the next has to make ready again.
    unsigned used;
};

struct weir_datagram_batch *weir_datagram_batch_create(unsigned count) {
    struct weir_datagram_batch *batch = calloc(1, sizeof *batch);
    if (!batch) return NULL;
    batch->count = count;
    batch->bytes = weir_map((size_t)count * slot_byte_count);
    batch->messages = calloc(count, sizeof *batch->messages);
    batch->vectors = calloc(count, sizeof *batch->vectors);
    batch->addresses = calloc(count, sizeof *batch->addresses);
    batch->controls = calloc(count, sizeof *batch->controls);
    batch->byte_counts = calloc(count, sizeof *batch->byte_counts);
    if (!batch->bytes || !batch->messages || !batch->vectors || !batch->addresses || !batch->controls ||
        !batch->byte_counts) {
        weir_datagram_batch_destroy(batch);
        return NULL;
    }
    batch->used = count;
    return batch;
}

void weir_datagram_batch_destroy(struct weir_datagram_batch *batch) {
    if (!batch) return;
    if (batch->bytes) weir_unmap(batch->bytes, (size_t)batch->count * slot_byte_count);
    free(batch->messages);
    free(batch->vectors);
    free(batch->addresses);
    free(batch->controls);
    free(batch->byte_counts);
    free(batch);
}

static void read_control(struct msghdr *message, struct weir_datagram *datagram) {
    for (struct cmsghdr *item = CMSG_FIRSTHDR(message); item; item = CMSG_NXTHDR(message, item)) {
        if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(item), sizeof info);
            // ipi_spec_dst, not ipi_addr: for a broadcast the former is the address to answer from.
            datagram->local.low = __builtin_bswap32(info.ipi_spec_dst.s_addr);
            datagram->local.family = 4;
        } else if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(item), sizeof info);
            weir_from_v6(&info.ipi6_addr, &datagram->local);
        } else if (item->cmsg_level == IPPROTO_UDP && item->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(item), sizeof size);
            if (size > 0 && (uint32_t)size < datagram->byte_count) datagram->segment_byte_count = (uint32_t)size;
        }
    }
}

int weir_datagram_batch_receive(
    struct weir_datagram_batch *batch, int fd, struct weir_datagram *datagrams, unsigned count) {
    if (count > batch->count) count = batch->count;
    for (unsigned index = 0; index < batch->used; index++) {
        batch->vectors[index] =
            (struct iovec){batch->bytes + (size_t)index * slot_byte_count, slot_byte_count};
        batch->messages[index].msg_hdr = (struct msghdr){
            .msg_name = &batch->addresses[index],
            .msg_namelen = sizeof batch->addresses[index],
            .msg_iov = &batch->vectors[index],
            .msg_iovlen = 1,
            .msg_control = &batch->controls[index],
            .msg_controllen = sizeof batch->controls[index],
        };
    }
    int received = (int)WEIR_RESULT_UNINTERRUPTED(
        WEIR_CALL_RECEIVE_DATAGRAMS, recvmmsg(fd, batch->messages, count, MSG_DONTWAIT, NULL));
    batch->used = received > 0 ? (unsigned)received : 0;
    for (int index = 0; index < received; index++) {
        struct msghdr *message = &batch->messages[index].msg_hdr;
        datagrams[index] = (struct weir_datagram){
            .byte_count = batch->messages[index].msg_len,
            .is_truncated = (message->msg_flags & MSG_TRUNC) != 0,
        };
        batch->byte_counts[index] = batch->messages[index].msg_len;
        if (message->msg_namelen > 0) weir_from_sockaddr(&batch->addresses[index], &datagrams[index].peer);
        read_control(message, &datagrams[index]);
    }
    return received;
}

static size_t put_control(
    union control *control, uint32_t segment_byte_count, const struct weir_endpoint *from) {
    size_t used = 0;
    struct cmsghdr *item = &control->alignment;
    if (from && from->family == 4) {
        struct in_pktinfo info = {.ipi_spec_dst = {.s_addr = __builtin_bswap32((uint32_t)from->low)}};
        *item = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IP, IP_PKTINFO};
        memcpy(CMSG_DATA(item), &info, sizeof info);
        used += CMSG_SPACE(sizeof info);
    } else if (from && from->family == 6) {
        union weir_sockaddr address;
        weir_to_sockaddr(from, &address);
        struct in6_pktinfo info = {.ipi6_addr = address.v6.sin6_addr};
        *item = (struct cmsghdr){CMSG_LEN(sizeof info), IPPROTO_IPV6, IPV6_PKTINFO};
        memcpy(CMSG_DATA(item), &info, sizeof info);
        used += CMSG_SPACE(sizeof info);
    }
    if (segment_byte_count > 0) {
        uint16_t size = (uint16_t)segment_byte_count;
        item = (struct cmsghdr *)(control->bytes + used);
        *item = (struct cmsghdr){CMSG_LEN(sizeof size), IPPROTO_UDP, UDP_SEGMENT};
        memcpy(CMSG_DATA(item), &size, sizeof size);
        used += CMSG_SPACE(sizeof size);
    }
    return used;
}

int weir_datagram_batch_send(
    struct weir_datagram_batch *batch, int fd, const struct weir_datagram_run *runs, unsigned count,
    const struct weir_endpoint *to, const struct weir_endpoint *from) {
    struct mmsghdr messages[32];
    union control controls[32];
    union weir_sockaddr address;
    socklen_t length = to ? weir_to_sockaddr(to, &address) : 0;
    if (count > 32) count = 32;
    for (unsigned index = 0; index < count; index++) {
        const struct weir_datagram_run *run = &runs[index];
        if (run->first + run->count > batch->count) return -EINVAL;
        for (unsigned piece = run->first; piece < run->first + run->count; piece++)
            batch->vectors[piece] =
                (struct iovec){batch->bytes + (size_t)piece * slot_byte_count, batch->byte_counts[piece]};
        size_t used = put_control(&controls[index], run->segment_byte_count, from);
        messages[index].msg_hdr = (struct msghdr){
            .msg_name = to ? &address : NULL,
            .msg_namelen = length,
            .msg_iov = &batch->vectors[run->first],
            .msg_iovlen = run->count,
            .msg_control = used > 0 ? &controls[index] : NULL,
            .msg_controllen = used,
        };
    }
    if (count == 1) {
        long result = WEIR_RESULT_UNINTERRUPTED(
            WEIR_CALL_SEND_DATAGRAMS, sendmsg(fd, &messages[0].msg_hdr, MSG_NOSIGNAL));
        return result < 0 ? (int)result : 1;
    }
    return (int)WEIR_RESULT_UNINTERRUPTED(WEIR_CALL_SEND_DATAGRAMS, sendmmsg(fd, messages, count, MSG_NOSIGNAL));
}

int weir_datagram_batch_send_singly(
    struct weir_datagram_batch *batch, int fd, const struct weir_datagram_run *run,
    const struct weir_endpoint *to, const struct weir_endpoint *from) {
    union control control;
    union weir_sockaddr address;
    socklen_t length = to ? weir_to_sockaddr(to, &address) : 0;
    size_t used = put_control(&control, 0, from);
    int sent = 0;
    if (run->first + run->count > batch->count) return -EINVAL;
    for (unsigned piece = run->first; piece < run->first + run->count; piece++) {
        char *bytes = batch->bytes + (size_t)piece * slot_byte_count;
        uint32_t left = batch->byte_counts[piece];
        do {
            uint32_t size = run->segment_byte_count > 0 && run->segment_byte_count < left
                                ? run->segment_byte_count : left;
            struct iovec vector = {bytes, size};
            struct msghdr message = {
                .msg_name = to ? &address : NULL,
                .msg_namelen = length,
                .msg_iov = &vector,
                .msg_iovlen = 1,
                .msg_control = used > 0 ? &control : NULL,
                .msg_controllen = used,
            };
            long result = WEIR_RESULT_UNINTERRUPTED(WEIR_CALL_SEND_DATAGRAMS, sendmsg(fd, &message, MSG_NOSIGNAL));
            if (result < 0) return sent > 0 ? sent : (int)result;
            sent++;
            bytes += size;
            left -= size;
        } while (left > 0);
    }
    return sent;
}

void weir_datagram_batch_copy(
    const struct weir_datagram_batch *batch, unsigned index, void *to, uint32_t byte_count) {
    if (index >= batch->count || byte_count > batch->byte_counts[index]) return;
    memcpy(to, batch->bytes + (size_t)index * slot_byte_count, byte_count);
}

void weir_datagram_batch_remove(struct weir_datagram_batch *batch, unsigned index, uint32_t byte_count) {
    if (index >= batch->count || byte_count > batch->byte_counts[index]) return;
    char *bytes = batch->bytes + (size_t)index * slot_byte_count;
    batch->byte_counts[index] -= byte_count;
    memmove(bytes, bytes + byte_count, batch->byte_counts[index]);
}
