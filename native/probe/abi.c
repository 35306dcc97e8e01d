/* The same system calls by another door: a filter that knows one ABI only lets the others pass. */
#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* keyctl(KEYCTL_GET_KEYRING_ID, the session keyring, make it): needs no privilege and no pointer. */
enum { GET_KEYRING_ID = 0, SESSION_KEYRING = -3, I386_KEYCTL = 288, X32_BIT = 0x40000000 };

#if defined(__x86_64__)
static long old_keyctl(void) {
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "a"((long)I386_KEYCTL), "b"((long)GET_KEYRING_ID), "c"((long)SESSION_KEYRING), "d"(1L), "S"(0L), "D"(0L)
                   : "memory", "r8", "r9", "r10", "r11");
  return result;
}

static long x32_keyctl(void) {
  long result = syscall(X32_BIT | SYS_keyctl, GET_KEYRING_ID, SESSION_KEYRING, 1);
  return result < 0 ? -errno : result;
}
#else
static long old_keyctl(void) { return -ENOSYS; }
static long x32_keyctl(void) { return -ENOSYS; }
#endif

/* A filter may kill for a foreign ABI, and a kernel without it may send any signal: both are a refusal. */
static void judge_in_child(struct report *r, const char *call, long (*attack)(void)) {
  long *result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (result == MAP_FAILED) return unable(r, "mmap: %s", error_name(errno));
  pid_t child = fork();
  if (child < 0) return unable(r, "fork: %s", error_name(errno));
  if (child == 0) {
    *result = attack();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return held(r, "%s: killed by signal %d", call, WTERMSIG(status));
  int value = (int)*result; /* a 32-bit call gives 32 bits */
  errno = value < 0 ? -value : 0;
  judge_call(r, call, value);
}

static void int80(struct report *r, const struct probe *self) {
  (void)self;
  judge_in_child(r, "keyctl by int 0x80", old_keyctl);
}

static void x32(struct report *r, const struct probe *self) {
  (void)self;
  judge_in_child(r, "keyctl by x32 number", x32_keyctl);
}

const struct probe abi_probes[] = {
    {.name = "abi-int80", .attack = int80},
    {.name = "abi-x32", .attack = x32},
    {0},
};
