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

/* Both lanes come in on the stream, where there is one; the other two only carry frames out then. */
enum { CONTROL_FD = 3, DATA_FD = 4, STREAM_FD = 5 };

/* Stages of a failed spawn, as reported in LANE_FAILED. */
enum { STAGE_SETUP = 1, STAGE_CWD = 2, STAGE_EXEC = 3, STAGE_CONNECT = 4 };

enum kind { KIND_PIPES, KIND_TTY, KIND_DIAL };

/* One program, or one connection to a port of the sandbox. A program is starting while `report` is open, which is
 * until it has been executed; a connection is connecting while `deadline_ms` is set. */
struct exec {
  uint32_t id; /* 0: the slot is free */
  enum kind kind;
  pid_t pid;
  int report;
  int slave;          /* the terminal's own end, held so that its output ends with the program and not before */
  uint16_t port;
  int family;         /* of the connection being made */
  int64_t deadline_ms;
  int is_old;         /* asked for before the memory was saved that this pid 1 comes out of */
  int exited;
  int status;
  struct rusage usage;

  int out[2];         /* read ends of stdout and stderr, -1 once closed */
  int out_polled[2];
  uint32_t window;    /* bytes of output the launcher has room for */
  uint64_t cap[2];    /* bytes forwarded at most */
  uint64_t total[2];  /* bytes the program wrote */
  uint64_t drain[2];  /* after exit: bytes still owed */

  int in; /* write end of stdin, -1 once closed and while connecting */
  int in_polled;
  int in_ended;
  int in_end_sent;   /* the buffer holds a terminal's end-of-file character */
  uint8_t *in_buffer; /* NULL: nothing is taken any more */
  size_t in_start, in_length;
};

/* exec.c: the table of execs and what flows through them. */
struct exec *exec_find(uint32_t id);
/* A free slot, or NULL; FAILED is sent then. */
struct exec *exec_new(uint32_t id, uint32_t stage);
struct exec *exec_at(size_t slot);
size_t exec_slot(const struct exec *e);
void exec_send_failed(uint32_t id, uint32_t stage, uint32_t error);
void exec_send_started(const struct exec *e);
/* What every exit tells: how many programs were executed so far. */
void exec_count_program(const struct exec *e);
void exec_forget_programs(void);
/* Polls what the exec now waits for. */
void exec_update(struct exec *e);
/* Closes all that it holds and frees the slot. */
void exec_release(struct exec *e);
void exec_finish(struct exec *e, int status);
void exec_credit(uint32_t id, uint32_t bytes);
void exec_stdin(uint32_t id, const uint8_t *bytes, size_t length);
void exec_reaped(pid_t pid, int status, const struct rusage *usage);
void exec_output_ready(size_t slot, int stream);
void exec_input_ready(size_t slot);

/* spawn.c: starting a program without ever waiting for it. */
void spawn_program(uint32_t id, uint8_t *payload, size_t length);
void spawn_report_ready(size_t slot);
/* The program is over: what it had to say of its start is there to be read. */
void spawn_settle(struct exec *e);

/* signal.c */
void exec_signal(uint32_t id, int signo);
void exec_kill(uint32_t id);

/* tty.c: terminals of the sandbox's own devpts. */
int tty_open(int *master, int *slave, struct lane_size size);
void tty_resize(uint32_t id, const uint8_t *payload, size_t length);
/* The process group in the foreground, 0 when there is none and -1 when the kernel does not tell. */
pid_t tty_foreground(int master);
/* The character that ends input, or 0 where the program has turned that off. */
uint8_t tty_end_of_file(int master);

/* dial.c: TCP connections to the sandbox's own loopback. */
void dial_port(uint32_t id, const uint8_t *payload, size_t length);
void dial_ready(size_t slot);
/* Milliseconds until the next connection must have been made, -1 without one. */
int dial_wait_ms(void);
void dial_expire(void);

/* init.c */
enum { WATCH_CONTROL, WATCH_DATA, WATCH_STREAM, WATCH_SIGNAL, WATCH_STDOUT, WATCH_STDERR, WATCH_STDIN, WATCH_REPORT, WATCH_CONNECT };
void watch(int fd, int kind, size_t slot, int writable);
void unwatch(int fd);
/* Closes the descriptor if it is open. Leaving the epoll set is a step of its own: closing does that only once no
 * process, not even a child on its way to its program, holds a copy. */
void let_go(int *fd, int *polled);
void send_frame(int fd, uint8_t type, uint8_t stream, uint32_t exec, const void *bytes, size_t length);
_Noreturn void die(int code);

/* restore.c: being saved and being started again from what was saved. Returns the last descriptor of the lanes. */
int lanes_take(void);
/* The lane says nothing more until RESUME. Once both do, pid 1 answers QUIET and waits; then it returns whether this is
 * a sandbox that was started from the saved memory. */
int quiesce_heard(int fd);
/* Says nothing until RESUME comes on this descriptor; its end is the end of pid 1. Returns whether RESUME says that pid 1 comes out of saved memory. */
int wait_for_resume(int fd);

/* hello.c: reports what pid 1 sees from inside, as NUL-separated name/value pairs. */
void send_hello(int landlock_abi);

/* facts.c */
int print_host_facts(void);

/* landlock.c: denies writing outside the writable mounts to this process and all it starts.
 * Returns the Landlock ABI version in force, 0 where the kernel offers none, -1 on failure. */
int landlock_confine(void);

#endif
