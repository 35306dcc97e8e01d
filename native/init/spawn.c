#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* What the child is given; report is the pipe in which it says why it could not become the program. */
struct given {
  int stdio[3];
  int report;
  int is_tty;
};

static _Noreturn void run_child(struct lane_spawn *spawn, const struct given *given) {
  uint32_t failure[2] = {STAGE_SETUP, 0};
  sigset_t none;
  sigemptyset(&none);
  setsid();
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int fd = 0; fd < 3; fd++)
    if (dup2(given->stdio[fd], fd) < 0) goto fail;
  if (given->is_tty && ioctl(0, TIOCSCTTY, 0) != 0) goto fail;
  /* Until it executes the program it would otherwise hold the pipes of others open. */
  int report = given->report;
  if (report != 3 && dup3(report, 3, O_CLOEXEC) < 0) goto fail;
  if (close_range(4, ~0U, 0) != 0) _exit(70);
  failure[0] = STAGE_CWD;
  if (chdir(spawn->cwd) != 0) goto moved;
  failure[0] = STAGE_EXEC;
  environ = spawn->envp; /* so that execvp searches the PATH of the command, not of pid 1 */
  execvp(spawn->argv[0], spawn->argv);
moved:
  failure[1] = (uint32_t)errno;
  if (write(3, failure, sizeof failure) != sizeof failure) _exit(70);
  _exit(127);
fail:
  failure[1] = (uint32_t)errno;
  if (write(given->report, failure, sizeof failure) != sizeof failure) _exit(70);
  _exit(127);
}

static void let_go_all(int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) let_go(&fds[i], NULL);
}

/* The ends that pid 1 keeps go into the exec, those of the child into `given`. */
static int open_pipes(struct exec *e, struct given *given, int wants_stdin) {
  int pair[2];
  if (wants_stdin) {
    if (pipe2(pair, O_CLOEXEC) != 0) return -1;
    given->stdio[0] = pair[0];
    e->in = pair[1];
    fcntl(e->in, F_SETFL, O_NONBLOCK);
  } else if ((given->stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) {
    return -1;
  }
  for (int s = 0; s < 2; s++) {
    if (pipe2(pair, O_CLOEXEC) != 0) return -1;
    e->out[s] = pair[0];
    given->stdio[s + 1] = pair[1];
    fcntl(e->out[s], F_SETFL, O_NONBLOCK);
  }
  return 0;
}

static int open_terminal(struct exec *e, struct given *given, struct lane_size size) {
  if (tty_open(&e->out[0], &e->slave, size) != 0) return -1;
  if ((e->in = fcntl(e->out[0], F_DUPFD_CLOEXEC, 0)) < 0) return -1;
  for (int fd = 0; fd < 3; fd++)
    if ((given->stdio[fd] = fcntl(e->slave, F_DUPFD_CLOEXEC, 0)) < 0) return -1;
  return 0;
}

static int open_ends(struct exec *e, struct given *given, const struct lane_spawn *spawn) {
  int report[2];
  given->is_tty = (spawn->flags & SPAWN_TTY) != 0;
  e->kind = given->is_tty ? KIND_TTY : KIND_PIPES;
  int wants_stdin = given->is_tty || (spawn->flags & SPAWN_STDIN) != 0;
  if (wants_stdin && (e->in_buffer = malloc(LANE_STDIN_WINDOW)) == NULL) return -1;
  if ((given->is_tty ? open_terminal(e, given, spawn->size) : open_pipes(e, given, wants_stdin)) != 0) return -1;
  if (pipe2(report, O_CLOEXEC | O_NONBLOCK) != 0) return -1;
  e->report = report[0];
  given->report = report[1];
  return 0;
}

/* Every descriptor init opens is close-on-exec, so a child keeps only what dup2 gave it. */
void spawn_program(uint32_t id, uint8_t *payload, size_t length) {
  static struct lane_spawn spawn;
  if (id == 0 || exec_find(id) != NULL || lane_parse_spawn(payload, length, &spawn) != 0) die(71);
  struct exec *e = exec_new(id, STAGE_SETUP);
  if (e == NULL) return;
  e->window = spawn.window;
  e->cap[0] = spawn.cap[0];
  e->cap[1] = spawn.cap[1];

  struct given given = {{-1, -1, -1}, -1, 0};
  pid_t pid = open_ends(e, &given, &spawn) == 0 ? fork() : -1;
  if (pid == 0) run_child(&spawn, &given);
  int error = errno;
  let_go_all(given.stdio, 3);
  let_go(&given.report, NULL);
  if (pid < 0) {
    exec_release(e);
    exec_send_failed(id, STAGE_SETUP, (uint32_t)error);
    return;
  }
  e->pid = pid;
  watch(e->report, WATCH_REPORT, exec_slot(e), 0);
  exec_update(e);
}

/* The end of the report is the program's start: the kernel closes the pipe in execve. A child that is killed on its
 * way there has started too, as far as anybody can tell. Nobody is told: the program's end says the rest, and each
 * frame wakes the launcher, which a short program would wait for. */
static void take_report(struct exec *e) {
  uint32_t failure[2];
  int polled = 1;
  ssize_t n;
  do n = read(e->report, failure, sizeof failure);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return;
  let_go(&e->report, &polled);
  if (n != sizeof failure) return exec_count_program(e);
  uint32_t id = e->id;
  exec_release(e);
  exec_send_failed(id, failure[0], failure[1]);
}

void spawn_report_ready(size_t slot) {
  struct exec *e = exec_at(slot);
  if (e->id != 0 && e->report >= 0) take_report(e);
}

void spawn_settle(struct exec *e) {
  if (e->report >= 0) take_report(e);
}
