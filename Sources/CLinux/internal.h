// Shared by the .c files: the fault hook and the conversion of endpoints.
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "CLinux.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#if WEIR_FAULT_INJECTION
int weir_fault_due(uint32_t call);
// Keeps count of the descriptors that participating threads have open.
void weir_fault_count_descriptors(int change);
// Evaluates to the call's result as a count or -errno; a due fault answers in its place.
#define WEIR_RESULT(call, expression)                                                          \
    ({                                                                                         \
        int fault_ = weir_fault_due(call);                                                     \
        long result_ = fault_ ? -1 : (long)(expression);                                       \
        result_ < 0 ? (fault_ ? -(long)fault_ : -(long)errno) : result_;                       \
    })
#else
#define weir_fault_count_descriptors(change) ((void)0)
#define WEIR_RESULT(call, expression)                                                          \
    ({                                                                                         \
        long result_ = (long)(expression);                                                     \
        result_ < 0 ? -(long)errno : result_;                                                  \
    })
#endif

union weir_sockaddr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static inline socklen_t weir_to_sockaddr(const struct weir_endpoint *endpoint, union weir_sockaddr *address) {
    if (endpoint->family == 4) {
        address->v4 = (struct sockaddr_in){
            .sin_family = AF_INET,
            .sin_port = __builtin_bswap16(endpoint->port),
            .sin_addr = {.s_addr = __builtin_bswap32((uint32_t)endpoint->low)},
        };
        return sizeof address->v4;
    }
    address->v6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = __builtin_bswap16(endpoint->port)};
    uint64_t high = __builtin_bswap64(endpoint->high);
    uint64_t low = __builtin_bswap64(endpoint->low);
    __builtin_memcpy(&address->v6.sin6_addr.s6_addr[0], &high, 8);
    __builtin_memcpy(&address->v6.sin6_addr.s6_addr[8], &low, 8);
    return sizeof address->v6;
}

static inline void weir_from_v6(const struct in6_addr *address, struct weir_endpoint *endpoint) {
    uint64_t high, low;
    __builtin_memcpy(&high, &address->s6_addr[0], 8);
    __builtin_memcpy(&low, &address->s6_addr[8], 8);
    endpoint->high = __builtin_bswap64(high);
    endpoint->low = __builtin_bswap64(low);
    endpoint->family = 6;
}

static inline void weir_from_sockaddr(const union weir_sockaddr *address, struct weir_endpoint *endpoint) {
    if (address->any.sa_family == AF_INET) {
        endpoint->high = 0;
        endpoint->low = __builtin_bswap32(address->v4.sin_addr.s_addr);
        endpoint->port = __builtin_bswap16(address->v4.sin_port);
        endpoint->family = 4;
    } else if (address->any.sa_family == AF_INET6) {
        weir_from_v6(&address->v6.sin6_addr, endpoint);
        endpoint->port = __builtin_bswap16(address->v6.sin6_port);
    } else {
        endpoint->family = 0;
    }
}

_Static_assert(sizeof(union weir_sockaddr) == sizeof(struct sockaddr_in6), "the largest address is IPv6");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "endpoints are swapped to network order");
