#define _GNU_SOURCE
#include "CMemoryShortage.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static char role[200] = "softgrpo";
static char remedies[600] = "use a smaller model or fewer threads, or raise the limit";
static atomic_flag is_ending = ATOMIC_FLAG_INIT;

/// Pages of the address space and of data that the process has, from /proc/self/statm; 0 when it cannot be read.
static void pages_in_use(size_t *address_space, size_t *data) {
  *address_space = *data = 0;
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  char text[160];
  const ssize_t count = read(file, text, sizeof text - 1);
  close(file);
  if (count <= 0) return;
  text[count] = 0;
  // size resident shared text lib data dt
  char *at = text;
  size_t fields[7] = {0};
  for (int index = 0; index < 7; index++) fields[index] = strtoul(at, &at, 10);
  *address_space = fields[0];
  *data = fields[5];
}

static int limit_of(int resource, size_t *limit) {
  struct rlimit found;
  if (getrlimit(resource, &found) != 0 || found.rlim_cur == RLIM_INFINITY) return 0;
  *limit = (size_t)found.rlim_cur;
  return 1;
}

size_t softgrpo_address_space_left(void) {
  size_t space, data, limit, left = SIZE_MAX;
  pages_in_use(&space, &data);
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (limit_of(RLIMIT_AS, &limit)) left = limit > space * page ? limit - space * page : 0;
  if (limit_of(RLIMIT_DATA, &limit)) {
    const size_t rest = limit > data * page ? limit - data * page : 0;
    if (rest < left) left = rest;
  }
  return left;
}

int softgrpo_can_map(size_t bytes) {
  void *const memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  munmap(memory, bytes);
  return 1;
}

/// The limits in force, as a sentence; snprintf of integers and texts allocates nothing.
static int describe_limits(char *to, size_t room) {
  size_t space, data, limit;
  pages_in_use(&space, &data);
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  int length = snprintf(to, room, "%zu MiB of address space are in use", space * page >> 20);
  if (limit_of(RLIMIT_AS, &limit)) {
    length += snprintf(to + length, room - (size_t)length, ", %zu MiB are allowed (ulimit -v)", limit >> 20);
  }
  if (limit_of(RLIMIT_DATA, &limit)) {
    length += snprintf(
        to + length, room - (size_t)length, ", %zu MiB of data, %zu MiB are allowed (ulimit -d)", data * page >> 20,
        limit >> 20);
  }
  return length;
}

/// One thread tells it; others that come to the same end wait to be ended.
static _Noreturn void end(const char *what) {
  if (atomic_flag_test_and_set(&is_ending)) {
    for (;;) pause();
  }
  char limits[400], text[1800];
  describe_limits(limits, sizeof limits);
  const char *const start = isatty(STDERR_FILENO) ? "\r\033[K" : "";
  const int length =
      snprintf(text, sizeof text, "%s%s: memory is short: %s; %s. To go on: %s\n", start, role, what, limits, remedies);
  if (length > 0) {
    const size_t count = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    for (size_t written = 0; written < count;) {
      const ssize_t done = write(STDERR_FILENO, text + written, count - written);
      if (done <= 0) break;
      written += (size_t)done;
    }
  }
  _exit(SOFTGRPO_MEMORY_SHORTAGE_STATUS);
}

_Noreturn void softgrpo_memory_shortage_end(size_t bytes, const char *purpose) {
  char what[400];
  snprintf(what, sizeof what, "%zu bytes (%zu MiB) for %s cannot be had", bytes, bytes >> 20, purpose);
  end(what);
}

_Noreturn void softgrpo_thread_shortage_end(int index, int count, int code) {
  char what[400];
  snprintf(
      what, sizeof what,
      "thread %d of %d cannot be started (%s): there is no memory for its stack, or no process is left (ulimit -u)", index,
      count, strerrordesc_np(code) ? strerrordesc_np(code) : "unknown error");
  end(what);
}

/// Libraries, and Swift's own allocations, trap or abort when memory is refused. A signal that comes while the limit
/// leaves no room is explained; any other does what it would have done.
static void explain(int number) {
  size_t limit, smallest = 64 << 20;
  if ((limit_of(RLIMIT_AS, &limit) || limit_of(RLIMIT_DATA, &limit)) && limit / 8 > smallest) smallest = limit / 8;
  if (!softgrpo_can_map(smallest)) {
    char what[400];
    snprintf(
        what, sizeof what, "signal %d came while not even %zu bytes (%zu MiB) more could be had", number, smallest,
        smallest >> 20);
    end(what);
  }
  signal(number, SIG_DFL);
  raise(number);
}

_Noreturn void softgrpo_library_end(const char *name, const char *reason) {
  fprintf(
      stderr, "%s: %s cannot be loaded: %s; install it (scripts/setup, or its package of the system)\n", role, name, reason);
  _exit(127);
}

static void copy(char *to, size_t room, const char *from) { snprintf(to, room, "%s", from); }

void softgrpo_memory_shortage_install(const char *new_role, const char *new_remedies) {
  copy(role, sizeof role, new_role);
  copy(remedies, sizeof remedies, new_remedies);
  size_t limit;
  if (!limit_of(RLIMIT_AS, &limit) && !limit_of(RLIMIT_DATA, &limit)) return;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = explain;
  action.sa_flags = SA_NODEFER | SA_RESETHAND;
  const int signals[] = {SIGABRT, SIGILL, SIGTRAP, SIGSEGV, SIGBUS};
  for (size_t index = 0; index < sizeof signals / sizeof *signals; index++) sigaction(signals[index], &action, NULL);
}
