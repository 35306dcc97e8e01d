/* Pid 1 of a sandbox: reaps, and runs commands it is sent on an inherited descriptor.
 *
 * It holds no privilege. It runs as the same unprivileged uid as the agent's programs, under the
 * same seccomp filter, and is protected from them by three things: the kernel ignores signals that
 * pid 1 has no handler for, the process is not dumpable (so no ptrace, no /proc/1/fd, no
 * pidfd_getfd), and its descriptors are closed in every child before exec.
 */
#ifndef CAISSON_INIT_H
#define CAISSON_INIT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "lane.h"

enum { CONTROL_FD = 3, DATA_FD = 4 };

/* Stages of a failed spawn, as reported in LANE_FAILED. */
enum { STAGE_SETUP = 1, STAGE_CWD = 2, STAGE_EXEC = 3 };

struct exec {
  uint32_t id; /* 0: the slot is free */
  pid_t pid;
  int exited;
  int status;
  struct rusage usage;

  int out[2];         /* read ends of stdout and stderr, -1 once closed */
  int out_polled[2];
  uint32_t window;    /* bytes of output the launcher has room for */
  uint64_t cap[2];    /* bytes forwarded at most */
  uint64_t total[2];  /* bytes the program wrote */
  uint64_t drain[2];  /* after exit: bytes still owed */

  int in; /* write end of stdin, -1 once closed */
  int in_polled;
  int in_ended;
  uint8_t *in_buffer;
  size_t in_start, in_length;
};

/* exec.c */
void exec_spawn(uint32_t id, uint8_t *payload, size_t length);
void exec_signal(uint32_t id, int signo);
void exec_credit(uint32_t id, uint32_t bytes);
void exec_stdin(uint32_t id, const uint8_t *bytes, size_t length);
void exec_reaped(pid_t pid, int status, const struct rusage *usage);
void exec_output_ready(size_t slot, int stream);
void exec_input_ready(size_t slot);

/* init.c */
enum { WATCH_CONTROL, WATCH_DATA, WATCH_SIGNAL, WATCH_STDOUT, WATCH_STDERR, WATCH_STDIN };
void watch(int fd, int kind, size_t slot, int writable);
void unwatch(int fd);
void send_frame(int fd, uint8_t type, uint8_t stream, uint32_t exec, const void *bytes, size_t length);
_Noreturn void die(int code);

/* hello.c: reports what pid 1 sees from inside, as NUL-separated name/value pairs. */
void send_hello(int landlock_abi);

/* facts.c */
int print_host_facts(void);

/* landlock.c: denies writing outside the writable mounts to this process and all it starts.
 * Returns the Landlock ABI version in force, 0 where the kernel offers none, -1 on failure. */
int landlock_confine(void);

#endif
