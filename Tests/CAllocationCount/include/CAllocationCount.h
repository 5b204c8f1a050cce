// Counts the allocations of threads that asked for it, by standing in for malloc and friends.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// The calling thread's allocations count from now on, or no longer.
void allocation_count_take_part(bool takes_part);
/// How many allocations the participating threads have made.
uint64_t allocation_count(void);
/// How many allocations the calling thread has made while it took part.
uint64_t allocation_own_count(void);
/// How many bytes the calling thread has allocated more than freed while it took part.
int64_t allocation_live_byte_count(void);

/// Instrumented workers and fault plans are one per process: a test that uses them takes them first and waits while
/// another has them. Any thread may give them back.
void instruments_take(void);
void instruments_give_back(void);
