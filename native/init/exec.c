#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024 };

static struct exec table[LANE_EXECS_MAX];

static struct exec *find(uint32_t id) {
  for (size_t i = 0; id != 0 && i < LANE_EXECS_MAX; i++)
    if (table[i].id == id) return &table[i];
  return NULL;
}

static struct exec *free_slot(void) {
  for (size_t i = 0; i < LANE_EXECS_MAX; i++)
    if (table[i].id == 0) return &table[i];
  return NULL;
}

static size_t slot_of(const struct exec *e) { return (size_t)(e - table); }

static uint32_t smaller(uint64_t a, uint64_t b) { return (uint32_t)(a < b ? a : b); }

static void send_failed(uint32_t id, uint32_t stage, uint32_t error) {
  uint8_t payload[8];
  lane_put32(payload, stage);
  lane_put32(payload + 4, error);
  send_frame(CONTROL_FD, LANE_FAILED, 0, id, payload, sizeof payload);
}

/* ---- output ---- */

static int can_read(const struct exec *e, int s) {
  if (e->out[s] < 0) return 0;
  return e->window > 0 || e->total[s] >= e->cap[s];
}

static void update_output(struct exec *e) {
  for (int s = 0; s < 2; s++) {
    int wanted = !e->exited && can_read(e, s);
    if (wanted && !e->out_polled[s]) watch(e->out[s], WATCH_STDOUT + s, slot_of(e), 0);
    if (!wanted && e->out_polled[s] && e->out[s] >= 0) unwatch(e->out[s]);
    e->out_polled[s] = wanted;
  }
}

static void close_output(struct exec *e, int s) {
  if (e->out[s] < 0) return;
  close(e->out[s]); /* closing also leaves the epoll set */
  e->out[s] = -1;
  e->out_polled[s] = 0;
}

static void close_input(struct exec *e) {
  if (e->in >= 0) close(e->in);
  e->in = -1;
  e->in_polled = 0;
  free(e->in_buffer);
  e->in_buffer = NULL;
  e->in_length = 0;
}

/* Reads once from one stream, forwards what cap and window allow and drops the rest.
 * Returns the bytes read, 0 when nothing is there now, -1 when the stream has ended. */
static ssize_t pump_output(struct exec *e, int s) {
  static uint8_t chunk[CHUNK];
  uint64_t room = e->total[s] < e->cap[s] ? e->cap[s] - e->total[s] : 0;
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
    e->window -= forwarded;
    send_frame(DATA_FD, LANE_OUTPUT, (uint8_t)(s + 1), e->id, chunk, forwarded);
  }
  return n;
}

static void send_exit(const struct exec *e) {
  uint8_t payload[48];
  int signaled = WIFSIGNALED(e->status);
  lane_put32(payload, signaled ? 1 : 0);
  lane_put32(payload + 4, (uint32_t)(signaled ? WTERMSIG(e->status) : WEXITSTATUS(e->status)));
  lane_put64(payload + 8, (uint64_t)e->usage.ru_utime.tv_sec * 1000000 + (uint64_t)e->usage.ru_utime.tv_usec);
  lane_put64(payload + 16, (uint64_t)e->usage.ru_stime.tv_sec * 1000000 + (uint64_t)e->usage.ru_stime.tv_usec);
  lane_put64(payload + 24, (uint64_t)e->usage.ru_maxrss);
  lane_put64(payload + 32, e->total[0]);
  lane_put64(payload + 40, e->total[1]);
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
  close_input(e);
  send_exit(e);
  e->id = 0;
}

void exec_output_ready(size_t slot, int s) {
  struct exec *e = &table[slot];
  if (e->id == 0 || e->exited || e->out[s] < 0) return;
  if (pump_output(e, s) < 0) close_output(e, s);
  update_output(e);
}

void exec_credit(uint32_t id, uint32_t bytes) {
  struct exec *e = find(id);
  if (e == NULL) return; /* the exec ended while the credit was under way */
  if (bytes > UINT32_MAX - e->window) die(71);
  e->window += bytes;
  update_output(e);
  settle(e);
}

void exec_reaped(pid_t pid, int status, const struct rusage *usage) {
  for (size_t i = 0; i < LANE_EXECS_MAX; i++) {
    struct exec *e = &table[i];
    if (e->id == 0 || e->pid != pid || e->exited) continue;
    e->exited = 1;
    e->status = status;
    e->usage = *usage;
    for (int s = 0; s < 2; s++) {
      int pending = 0;
      if (e->out[s] >= 0 && ioctl(e->out[s], FIONREAD, &pending) != 0) pending = 0;
      e->drain[s] = (uint64_t)pending;
    }
    update_output(e);
    settle(e);
    return;
  }
}

void exec_signal(uint32_t id, int signo) {
  struct exec *e = find(id);
  if (e == NULL || e->exited || signo <= 0 || signo > 64) return;
  kill(-e->pid, signo);
}

/* ---- stdin ---- */

static void credit_stdin(const struct exec *e, size_t bytes) {
  uint8_t payload[4];
  lane_put32(payload, (uint32_t)bytes);
  send_frame(CONTROL_FD, LANE_STDIN_CREDIT, 0, e->id, payload, sizeof payload);
}

static void update_input(struct exec *e) {
  if (e->in < 0) return;
  if (e->in_length == 0 && e->in_ended) {
    close_input(e);
    return;
  }
  int wanted = e->in_length > 0;
  if (wanted && !e->in_polled) watch(e->in, WATCH_STDIN, slot_of(e), 1);
  if (!wanted && e->in_polled) unwatch(e->in);
  e->in_polled = wanted;
}

void exec_input_ready(size_t slot) {
  struct exec *e = &table[slot];
  if (e->id == 0 || e->in < 0 || e->in_length == 0) return;
  ssize_t n = write(e->in, e->in_buffer + e->in_start, e->in_length);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n < 0) { /* the program closed its stdin: take and drop what is still sent */
    credit_stdin(e, e->in_length);
    close_input(e);
    return;
  }
  e->in_start += (size_t)n;
  e->in_length -= (size_t)n;
  credit_stdin(e, (size_t)n);
  update_input(e);
}

void exec_stdin(uint32_t id, const uint8_t *bytes, size_t length) {
  struct exec *e = find(id);
  if (e == NULL) return;
  if (e->in < 0) {
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

/* ---- spawn ---- */

static _Noreturn void run_child(struct lane_spawn *spawn, const int stdio[3], int report) {
  uint32_t failure[2] = {STAGE_SETUP, 0};
  sigset_t none;
  sigemptyset(&none);
  setsid();
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int fd = 0; fd < 3; fd++)
    if (dup2(stdio[fd], fd) < 0) goto fail;
  failure[0] = STAGE_CWD;
  if (chdir(spawn->cwd) != 0) goto fail;
  failure[0] = STAGE_EXEC;
  environ = spawn->envp; /* so that execvp searches the PATH of the command, not of pid 1 */
  execvp(spawn->argv[0], spawn->argv);
fail:
  failure[1] = (uint32_t)errno;
  if (write(report, failure, sizeof failure) != sizeof failure) _exit(70);
  _exit(127);
}

static void close_pair(int pair[2]) {
  if (pair[0] >= 0) close(pair[0]);
  if (pair[1] >= 0) close(pair[1]);
}

/* Every descriptor init opens is close-on-exec, so a child keeps only what dup2 gave it. */
void exec_spawn(uint32_t id, uint8_t *payload, size_t length) {
  static struct lane_spawn spawn;
  if (id == 0 || find(id) != NULL || lane_parse_spawn(payload, length, &spawn) != 0) die(71);
  struct exec *e = free_slot();
  if (e == NULL) return send_failed(id, STAGE_SETUP, EAGAIN);

  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, report[2] = {-1, -1};
  uint8_t *buffer = NULL;
  int wants_stdin = (spawn.flags & SPAWN_STDIN) != 0;
  if (wants_stdin && (buffer = malloc(LANE_STDIN_WINDOW)) == NULL) goto fail;
  if (wants_stdin && pipe2(in, O_CLOEXEC) != 0) goto fail;
  if (!wants_stdin && (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) goto fail;
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0) goto fail;

  pid_t pid = fork();
  if (pid < 0) goto fail;
  if (pid == 0) run_child(&spawn, (const int[3]){in[0], out[1], err[1]}, report[1]);

  close(in[0]);
  close(out[1]);
  close(err[1]);
  close(report[1]);
  uint32_t failure[2];
  ssize_t n;
  do n = read(report[0], failure, sizeof failure);
  while (n < 0 && errno == EINTR);
  close(report[0]);
  if (n == sizeof failure) {
    close(out[0]);
    close(err[0]);
    if (in[1] >= 0) close(in[1]);
    free(buffer);
    return send_failed(id, failure[0], failure[1]);
  }

  fcntl(out[0], F_SETFL, O_NONBLOCK);
  fcntl(err[0], F_SETFL, O_NONBLOCK);
  if (wants_stdin) fcntl(in[1], F_SETFL, O_NONBLOCK);
  *e = (struct exec){.id = id, .pid = pid, .out = {out[0], err[0]}, .window = spawn.window,
                     .cap = {spawn.cap[0], spawn.cap[1]}, .in = in[1], .in_buffer = buffer};
  uint8_t started[4];
  lane_put32(started, (uint32_t)pid);
  send_frame(CONTROL_FD, LANE_STARTED, 0, id, started, sizeof started);
  update_output(e);
  return;

fail:
  send_failed(id, STAGE_SETUP, (uint32_t)errno);
  close_pair(in);
  close_pair(out);
  close_pair(err);
  close_pair(report);
  free(buffer);
}
