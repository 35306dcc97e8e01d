#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Takes operations from stdin, each a process of its own, and so saves its caller the start of a large process for
 * each. A request is fields that end in NUL, the first its id, and one empty field at its end; the reply is a line
 * that begins with the id. The server ends with its stdin, when everything under way is over. It and every operation hold
 * the lock of the store, so that nothing of a launcher that died is under way when the next one begins.
 */
enum { MOST_UNDER_WAY = 4096, REQUEST_BYTES = 16384, MOST_FIELDS = 8 };

struct under_way {
  pid_t pid;
  char id[24];
  int waits; /* it only waits for others, and may be ended */
};

static struct under_way running[MOST_UNDER_WAY];
static size_t live;

static void restore_signals(void) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static void say_killed(const char *id) {
  char line[128];
  int length = snprintf(line, sizeof line, "%s error EINTR killed\n", id);
  if (write(STDOUT_FILENO, line, (size_t)length) != length) _exit(3);
}

static void reap(int wait) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, wait ? 0 : WNOHANG)) > 0) {
    for (size_t i = 0; i < live; i++) {
      if (running[i].pid != pid) continue;
      struct under_way ended = running[i];
      running[i] = running[--live];
      if (WIFSIGNALED(status) || WEXITSTATUS(status) > 1) say_killed(ended.id);
      break;
    }
  }
}

static void start(int fields, char **field) {
  if (fields < 2 || strlen(field[0]) >= sizeof running->id) _exit(4);
  while (live == MOST_UNDER_WAY) {
    poll(NULL, 0, 1);
    reap(0);
  }
  pid_t pid = fork();
  if (pid == 0) {
    restore_signals();
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
    reply_with_id(field[0]);
    run_operation(fields - 1, field + 1);
  }
  if (pid < 0) {
    say_killed(field[0]);
    return;
  }
  struct under_way *one = &running[live++];
  one->pid = pid;
  snprintf(one->id, sizeof one->id, "%s", field[0]);
  one->waits = strcmp(field[1], "detach") == 0;
}

/* Starts every whole request in the buffer and returns how many bytes of it are used up. */
static size_t take(char *bytes, size_t length) {
  char *field[MOST_FIELDS];
  int fields = 0;
  size_t used = 0, at = 0;
  while (at < length) {
    size_t size = strnlen(bytes + at, length - at);
    if (at + size == length) break;
    if (size > 0) {
      if (fields == MOST_FIELDS) _exit(4);
      field[fields++] = bytes + at;
    }
    at += size + 1;
    if (size > 0) continue;
    start(fields, field);
    fields = 0;
    used = at;
  }
  return used;
}

void serve(const char *lock, long patience_ms) {
  static char bytes[REQUEST_BYTES];
  size_t have = 0;
  int held = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (held < 0) fail("lock");
  for (long waited = 0; flock(held, LOCK_EX | LOCK_NB) != 0; waited += 5) {
    if (errno != EWOULDBLOCK || waited >= patience_ms) fail("lock");
    poll(NULL, 0, 5);
  }
  prctl(PR_SET_DUMPABLE, 0);
  signal(SIGPIPE, SIG_IGN);
  sigset_t handled;
  sigemptyset(&handled);
  sigaddset(&handled, SIGCHLD);
  sigaddset(&handled, SIGINT);
  sigaddset(&handled, SIGHUP);
  sigaddset(&handled, SIGTERM); /* the end of stdin is the one word to end */
  sigprocmask(SIG_BLOCK, &handled, NULL);
  int signals = signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) fail("signalfd");
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) _exit(3);
  for (;;) {
    struct pollfd polled[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    if (poll(polled, 2, -1) < 0 && errno != EINTR) _exit(5);
    struct signalfd_siginfo ignored;
    while (read(signals, &ignored, sizeof ignored) > 0) continue;
    reap(0);
    if (polled[0].revents == 0) continue;
    ssize_t n = read(STDIN_FILENO, bytes + have, sizeof bytes - have);
    if (n <= 0) break;
    have += (size_t)n;
    size_t used = take(bytes, have);
    if (used == 0 && have == sizeof bytes) _exit(4);
    memmove(bytes, bytes + used, have - used);
    have -= used;
  }
  for (size_t i = 0; i < live; i++)
    if (running[i].waits) kill(running[i].pid, SIGKILL);
  reap(1);
  _exit(0);
}
