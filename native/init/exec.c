#include "init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

static struct exec table[LANE_EXECS_MAX];

struct exec *exec_find(uint32_t id) {
  for (size_t i = 0; id != 0 && i < LANE_EXECS_MAX; i++)
    if (table[i].id == id) return &table[i];
  return NULL;
}

struct exec *exec_new(uint32_t id, uint32_t stage) {
  for (size_t i = 0; i < LANE_EXECS_MAX; i++) {
    if (table[i].id != 0) continue;
    table[i] = (struct exec){.id = id, .report = -1, .slave = -1, .out = {-1, -1}, .in = -1};
    return &table[i];
  }
  exec_send_failed(id, stage, EAGAIN);
  return NULL;
}

struct exec *exec_at(size_t slot) { return &table[slot]; }

size_t exec_slot(const struct exec *e) { return (size_t)(e - table); }

static uint32_t smaller(uint64_t a, uint64_t b) { return (uint32_t)(a < b ? a : b); }

void exec_send_failed(uint32_t id, uint32_t stage, uint32_t error) {
  uint8_t payload[8];
  lane_put32(payload, stage);
  lane_put32(payload + 4, error);
  send_frame(CONTROL_FD, LANE_FAILED, 0, id, payload, sizeof payload);
}

void exec_send_started(const struct exec *e) {
  uint8_t payload[4];
  lane_put32(payload, (uint32_t)e->pid);
  send_frame(CONTROL_FD, LANE_STARTED, 0, e->id, payload, sizeof payload);
}

/* ---- output ---- */

static int can_read(const struct exec *e, int s) {
  if (e->out[s] < 0) return 0;
  return e->window >= LANE_FRAME_COST || e->total[s] >= e->cap[s];
}

static void update_output(struct exec *e) {
  if (e->deadline_ms != 0) return; /* connecting: there is nothing to be read, and what is polled is the connection */
  for (int s = 0; s < 2; s++) {
    int wanted = !e->exited && can_read(e, s);
    if (wanted && !e->out_polled[s]) watch(e->out[s], WATCH_STDOUT + s, exec_slot(e), 0);
    if (!wanted && e->out_polled[s] && e->out[s] >= 0) unwatch(e->out[s]);
    e->out_polled[s] = wanted;
  }
}

static void close_output(struct exec *e, int s) { let_go(&e->out[s], &e->out_polled[s]); }

static void close_input(struct exec *e) {
  if (e->kind == KIND_DIAL && e->in >= 0) shutdown(e->in, SHUT_WR);
  let_go(&e->in, &e->in_polled);
  free(e->in_buffer);
  e->in_buffer = NULL;
  e->in_length = 0;
}

void exec_release(struct exec *e) {
  close_input(e);
  for (int s = 0; s < 2; s++) close_output(e, s);
  int report_polled = 1;
  let_go(&e->report, &report_polled);
  let_go(&e->slave, NULL);
  e->id = 0;
}

/* Reads once from one stream, forwards what cap and window allow and drops the rest.
 * Returns the bytes read, 0 when nothing is there now, -1 when the stream has ended. */
static ssize_t pump_output(struct exec *e, int s) {
  static uint8_t chunk[CHUNK];
  uint64_t room = e->total[s] < e->cap[s] ? e->cap[s] - e->total[s] : 0;
  if (room > 0 && e->window < LANE_FRAME_COST) return 0;
  size_t most = room > 0 ? smaller(e->window, CHUNK) : CHUNK;
  if (e->exited) most = smaller(most, e->drain[s]);
  if (most == 0) return 0;
  ssize_t n;
  do n = read(e->out[s], chunk, most);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN ? 0 : -1;
  if (n == 0) return -1;
  e->total[s] += (uint64_t)n;
  if (e->exited) e->drain[s] -= (uint64_t)n;
  uint32_t forwarded = smaller((uint64_t)n, room);
  if (forwarded > 0) {
    e->window -= forwarded < LANE_FRAME_COST ? LANE_FRAME_COST : forwarded;
    send_frame(DATA_FD, LANE_OUTPUT, (uint8_t)(s + 1), e->id, chunk, forwarded);
  }
  return n;
}

/* Programs that this pid 1 has executed. One that comes out of saved memory counts from nothing: a program that was under
 * way then counts in the sandbox that asked for it, even if its start is seen only here. */
static uint64_t programs;

void exec_count_program(const struct exec *e) {
  if (!e->is_old) programs += 1;
}

void exec_forget_programs(void) {
  programs = 0;
  for (size_t i = 0; i < LANE_EXECS_MAX; i++) table[i].is_old = 1;
}

static void send_exit(const struct exec *e) {
  uint8_t payload[56];
  int signaled = WIFSIGNALED(e->status);
  lane_put32(payload, signaled ? 1 : 0);
  lane_put32(payload + 4, (uint32_t)(signaled ? WTERMSIG(e->status) : WEXITSTATUS(e->status)));
  lane_put64(payload + 8, (uint64_t)e->usage.ru_utime.tv_sec * 1000000 + (uint64_t)e->usage.ru_utime.tv_usec);
  lane_put64(payload + 16, (uint64_t)e->usage.ru_stime.tv_sec * 1000000 + (uint64_t)e->usage.ru_stime.tv_usec);
  lane_put64(payload + 24, (uint64_t)e->usage.ru_maxrss);
  lane_put64(payload + 32, e->total[0]);
  lane_put64(payload + 40, e->total[1]);
  lane_put64(payload + 48, programs);
  send_frame(DATA_FD, LANE_EXIT, 0, e->id, payload, sizeof payload);
}

/* After the program has exited, what it left in its pipes is owed and no more than that. It is read
 * as soon as the window reaches, without waiting for the pipe to say anything: a background process
 * that keeps a pipe open, or reads it empty itself, cannot keep the exec alive. */
static void settle(struct exec *e) {
  if (!e->exited) return;
  for (int s = 0; s < 2; s++) {
    while (e->drain[s] > 0 && can_read(e, s))
      if (pump_output(e, s) <= 0) e->drain[s] = 0;
    if (e->drain[s] == 0) close_output(e, s);
  }
  if (e->out[0] >= 0 || e->out[1] >= 0) return;
  exec_finish(e, e->status);
}

void exec_finish(struct exec *e, int status) {
  e->status = status;
  send_exit(e);
  exec_release(e);
}

/* A connection is over when both of its halves are. */
static void settle_dial(struct exec *e) {
  if (e->kind == KIND_DIAL && e->deadline_ms == 0 && e->out[0] < 0 && e->in_buffer == NULL) exec_finish(e, 0);
}

/* The peer of a connection may end its half while it still reads; nothing is left of a connection that was reset. */
static void end_of_output(struct exec *e, int s, int error) {
  close_output(e, s);
  if (e->kind != KIND_DIAL) return;
  if (error != 0) return exec_finish(e, 0);
  send_frame(DATA_FD, LANE_OUTPUT_END, 0, e->id, NULL, 0);
  settle_dial(e);
}

void exec_output_ready(size_t slot, int s) {
  struct exec *e = &table[slot];
  if (e->id == 0 || e->exited || e->out[s] < 0) return;
  errno = 0;
  if (pump_output(e, s) < 0) end_of_output(e, s, errno);
  if (e->id != 0) update_output(e);
}

void exec_credit(uint32_t id, uint32_t bytes) {
  struct exec *e = exec_find(id);
  if (e == NULL) return; /* the exec ended while the credit was under way */
  if (bytes > UINT32_MAX - e->window) die(71);
  e->window += bytes;
  update_output(e);
  settle(e);
}

/* What a program has left to be read, at most. A terminal keeps some of it where no count shows it, 12 KiB in Linux
 * (pty.c, n_tty.c) and 132 KiB in gVisor, and a read takes all of it before it says that there is nothing. */
static uint64_t owed(const struct exec *e, int s) {
  int pending = 0;
  if (e->out[s] < 0) return 0;
  if (e->kind == KIND_TTY) return 160 * 1024;
  return ioctl(e->out[s], FIONREAD, &pending) == 0 ? (uint64_t)pending : 0;
}

void exec_reaped(pid_t pid, int status, const struct rusage *usage) {
  for (size_t i = 0; i < LANE_EXECS_MAX; i++) {
    struct exec *e = &table[i];
    if (e->id == 0 || e->pid != pid || e->exited) continue;
    spawn_settle(e);
    if (e->id == 0) return;
    e->exited = 1;
    e->status = status;
    e->usage = *usage;
    for (int s = 0; s < 2; s++) e->drain[s] = owed(e, s);
    update_output(e);
    settle(e);
    return;
  }
}

/* ---- stdin ---- */

static void credit_stdin(const struct exec *e, size_t bytes) {
  uint8_t payload[4];
  lane_put32(payload, (uint32_t)bytes);
  send_frame(CONTROL_FD, LANE_STDIN_CREDIT, 0, e->id, payload, sizeof payload);
}

/* A terminal has no end of input, only a character that says so; it goes the way of all input, and nobody is credited
 * for it. Returns whether there is one to be written. */
static int end_of_file(struct exec *e) {
  if (e->kind != KIND_TTY || e->in_end_sent) return 0;
  e->in_end_sent = 1;
  e->in_buffer[0] = tty_end_of_file(e->in);
  e->in_start = 0;
  e->in_length = e->in_buffer[0] != 0;
  return e->in_length > 0;
}

static void update_input(struct exec *e) {
  if (e->in < 0) return;
  if (e->in_length == 0 && e->in_ended && !end_of_file(e)) {
    close_input(e);
    return settle_dial(e);
  }
  int wanted = e->in_length > 0;
  if (wanted && !e->in_polled) watch(e->in, WATCH_STDIN, exec_slot(e), 1);
  if (!wanted && e->in_polled) unwatch(e->in);
  e->in_polled = wanted;
}

void exec_input_ready(size_t slot) {
  struct exec *e = &table[slot];
  if (e->id == 0 || e->in < 0 || e->in_length == 0) return;
  ssize_t n = write(e->in, e->in_buffer + e->in_start, e->in_length);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) { /* the program closed its stdin: take and drop what is still sent */
    if (!e->in_end_sent) credit_stdin(e, e->in_length);
    close_input(e);
    return settle_dial(e);
  }
  e->in_start += (size_t)n;
  e->in_length -= (size_t)n;
  if (!e->in_end_sent) credit_stdin(e, (size_t)n);
  update_input(e);
}

void exec_stdin(uint32_t id, const uint8_t *bytes, size_t length) {
  struct exec *e = exec_find(id);
  if (e == NULL) return;
  if (e->in_buffer == NULL) {
    if (length > 0) credit_stdin(e, length);
    return;
  }
  if (e->in_ended) die(71);
  if (length == 0) e->in_ended = 1;
  if (length > LANE_STDIN_WINDOW - e->in_length) die(71); /* more than was credited */
  memmove(e->in_buffer, e->in_buffer + e->in_start, e->in_length);
  e->in_start = 0;
  memcpy(e->in_buffer + e->in_length, bytes, length);
  e->in_length += length;
  update_input(e);
}

void exec_update(struct exec *e) {
  update_output(e);
  update_input(e);
}
