// libcap: reading and setting the capabilities of this process, see cap_set_proc(3).
#pragma once
#include <sys/capability.h>
