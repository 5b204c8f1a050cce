// Counts the allocations of threads that asked for it, by standing in for malloc and friends.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/// The calling thread's allocations count from now on, or no longer.
void allocation_count_take_part(bool takes_part);
/// How many allocations the participating threads have made.
uint64_t allocation_count(void);
