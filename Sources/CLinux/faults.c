// Making the n-th system call fail, in debug builds: how tests visit every error path.
#include "internal.h"

#if WEIR_FAULT_INJECTION
static _Thread_local bool takes_part;
static uint32_t plan_calls;
static int plan_error;
static uint64_t plan_nth;
static uint64_t call_count;
static bool is_delivered;
static int64_t descriptor_count;

int weir_fault_due(uint32_t call) {
    if (!takes_part) return 0;
    if ((__atomic_load_n(&plan_calls, __ATOMIC_ACQUIRE) & call) == 0) return 0;
    uint64_t count = __atomic_add_fetch(&call_count, 1, __ATOMIC_RELAXED);
    if (count != __atomic_load_n(&plan_nth, __ATOMIC_RELAXED)) return 0;
    __atomic_store_n(&is_delivered, true, __ATOMIC_RELAXED);
    return plan_error;
}

bool weir_faults_available(void) { return true; }

void weir_fault_arm(uint32_t calls, uint64_t nth, int error) {
    __atomic_store_n(&plan_calls, 0, __ATOMIC_RELEASE);
    plan_error = error;
    __atomic_store_n(&plan_nth, nth, __ATOMIC_RELAXED);
    __atomic_store_n(&call_count, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&is_delivered, false, __ATOMIC_RELAXED);
    __atomic_store_n(&plan_calls, calls, __ATOMIC_RELEASE);
}

bool weir_fault_disarm(void) {
    __atomic_store_n(&plan_calls, 0, __ATOMIC_RELEASE);
    return __atomic_load_n(&is_delivered, __ATOMIC_RELAXED);
}

void weir_fault_take_part(bool takes) { takes_part = takes; }

void weir_fault_count_descriptors(int change) {
    if (takes_part) __atomic_add_fetch(&descriptor_count, change, __ATOMIC_RELAXED);
}

int64_t weir_fault_descriptor_count(void) { return __atomic_load_n(&descriptor_count, __ATOMIC_RELAXED); }

uint64_t weir_fault_call_count(void) { return __atomic_load_n(&call_count, __ATOMIC_RELAXED); }
#else
bool weir_faults_available(void) { return false; }
void weir_fault_arm(uint32_t calls, uint64_t nth, int error) { (void)calls, (void)nth, (void)error; }
bool weir_fault_disarm(void) { return false; }
void weir_fault_take_part(bool takes_part) { (void)takes_part; }
uint64_t weir_fault_call_count(void) { return 0; }
int64_t weir_fault_descriptor_count(void) { return 0; }
#endif
