#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Rounds over all processes when a session is killed: what forks meanwhile is met by the next. */
enum { KILL_ROUNDS = 3 };

/* The whole group; a child that has not made its own yet is alone. */
static void signal_group(pid_t pid, int signo) {
  if (kill(-pid, signo) != 0) kill(pid, signo);
}

/* Signals the processes of the session other than those of one group, 0 for none, and returns how many it met. */
static int signal_session(pid_t session, pid_t but, int signo) {
  int met = 0;
  DIR *proc = opendir("/proc");
  if (proc == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    long pid = strtol(entry->d_name, NULL, 10);
    if (pid <= 1 || getsid((pid_t)pid) != session || (but != 0 && getpgid((pid_t)pid) == but)) continue;
    if (kill((pid_t)pid, signo) == 0) met++;
  }
  closedir(proc);
  return met;
}

/* Who is in the foreground gVisor tells nobody outside the session: there the session as a whole is signalled. */
static void signal_foreground(const struct exec *e, int signo) {
  pid_t foreground = tty_foreground(e->out[0]);
  if (foreground < 0) signal_session(e->pid, e->pid, signo);
  if (foreground > 1 && foreground != e->pid) kill(-foreground, signo);
}

void exec_signal(uint32_t id, int signo) {
  struct exec *e = exec_find(id);
  if (e == NULL || e->exited || e->kind == KIND_DIAL || signo <= 0 || signo > 64) return;
  if (e->kind == KIND_TTY && e->out[0] >= 0) signal_foreground(e, signo);
  signal_group(e->pid, signo);
}

void exec_kill(uint32_t id) {
  struct exec *e = exec_find(id);
  if (e == NULL || e->exited) return;
  if (e->kind == KIND_DIAL) {
    if (e->deadline_ms == 0) return exec_finish(e, SIGKILL);
    exec_release(e);
    return exec_send_failed(id, STAGE_CONNECT, ECANCELED);
  }
  signal_group(e->pid, SIGKILL);
  for (int round = 0; round < KILL_ROUNDS && signal_session(e->pid, 0, SIGKILL) > 0; round++) continue;
}
