#ifndef SOFTGRPO_MEMORY_SHORTAGE_H
#define SOFTGRPO_MEMORY_SHORTAGE_H

#include <stddef.h>

/// The status of a process that ended for lack of memory: EX_OSERR of sysexits.h.
#define SOFTGRPO_MEMORY_SHORTAGE_STATUS 71

/// Says who runs and what to do when memory is short, and has signals that a library raises for lack of memory
/// explained. Both texts are copied. To be called once, before threads are started.
void softgrpo_memory_shortage_install(const char *role, const char *remedies);

/// Ends the process with SOFTGRPO_MEMORY_SHORTAGE_STATUS and an error that names the role, `bytes`, what they are for,
/// the limits in force and the remedies. Any thread may call it; nothing is allocated.
_Noreturn void softgrpo_memory_shortage_end(size_t bytes, const char *purpose);

/// As above for a thread that cannot be started.
_Noreturn void softgrpo_thread_shortage_end(int index, int count, int code);

/// Ends the process, as the loader of the system does, when a library that a computation needs cannot be loaded.
_Noreturn void softgrpo_library_end(const char *name, const char *reason);

/// Bytes that a limit of the address space or of data (ulimit -v, ulimit -d) leaves; SIZE_MAX without a limit.
size_t softgrpo_address_space_left(void);

/// Whether `bytes` of memory can be mapped now.
int softgrpo_can_map(size_t bytes);

#endif
