/* Other processes: seeing them, stopping them, taking what they hold. */
#include "probe.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LANE_FD_FIRST = 3, LANE_FD_LAST = 4, PIDS_TRIED = 100000 };

/* Itself, the process that runs the batch, and pid 1, which is part of every sandbox. */
static int ours(long pid) { return pid == 1 || pid == getpid() || pid == getppid(); }

static void other_processes(struct report *r, const struct probe *self) {
  (void)self;
  DIR *proc = opendir("/proc");
  if (proc == NULL) return unable(r, "/proc: %s", error_name(errno));
  int count = 0;
  long example = 0;
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    if (!isdigit((unsigned char)entry->d_name[0])) continue;
    long pid = strtol(entry->d_name, NULL, 10);
    if (ours(pid)) continue;
    count++;
    example = pid;
  }
  closedir(proc);
  if (count > 0) through(r, "%d other processes in /proc, such as %ld", count, example);
  else held(r, "no other process in /proc");
}

/* Signal 0 asks for the permission and sends nothing. */
static void signal_others(struct report *r, const struct probe *self) {
  (void)self;
  int last = ESRCH;
  for (long pid = 2; pid <= PIDS_TRIED; pid++) {
    if (ours(pid)) continue;
    if (kill((pid_t)pid, 0) == 0) return through(r, "process %ld may be signalled", pid);
    if (errno != ESRCH) last = errno;
  }
  held(r, "none of %d pids, the worst answer was %s", PIDS_TRIED, error_name(last));
}

static void signal_all(struct report *r, const struct probe *self) {
  (void)self;
  judge_call(r, "kill(-1)", kill(-1, 0));
}

static int is_gone(pid_t pid) {
  char number[16];
  snprintf(number, sizeof number, "%d", (int)pid);
  const char *state = status_field(number, "State");
  return state == NULL || state[0] == 'Z' || state[0] == 'X' || state[0] == 'T';
}

/* The kernel shields the pid 1 of a namespace from the signals of its own namespace that it does not handle. */
static void kill_init(struct report *r, const struct probe *self) {
  (void)self;
  static const struct {
    int number;
    const char *name;
  } signals[] = {{SIGKILL, "SIGKILL"}, {SIGTERM, "SIGTERM"}, {SIGSTOP, "SIGSTOP"}};
  if (target() == 1 && geteuid() == 0) return unable(r, "not tried by root");
  held(r, "process %d lives", (int)target());
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    int result = kill(target(), signals[i].number);
    int error = errno;
    usleep(100000);
    if (is_gone(target())) {
      kill(target(), SIGCONT);
      return through(r, "%s stopped or killed process %d", signals[i].name, (int)target());
    }
    note(r, "%s: %s", signals[i].name, result == 0 ? "dropped" : error_name(error));
  }
}

static void trace(struct report *r, const struct probe *self) {
  (void)self;
  long seize = ptrace(PTRACE_SEIZE, target(), 0, 0);
  if (seize == 0) return through(r, "ptrace(seize %d) worked", (int)target());
  int error = errno;
  long attach = ptrace(PTRACE_ATTACH, target(), 0, 0);
  if (attach == 0) {
    waitpid(target(), NULL, 0);
    ptrace(PTRACE_DETACH, target(), 0, 0);
    return through(r, "ptrace(attach %d) worked", (int)target());
  }
  held(r, "ptrace(seize): %s, ptrace(attach): %s", error_name(error), error_name(errno));
}

/* A static program is linked to this address. */
static struct iovec init_text(void) { return (struct iovec){(void *)0x400000, 16}; }

static void read_memory(struct report *r, const struct probe *self) {
  (void)self;
  char bytes[16];
  struct iovec mine = {bytes, sizeof bytes}, theirs = init_text();
  judge_late_error(r, "process_vm_readv", process_vm_readv(target(), &mine, 1, &theirs, 1, 0), EFAULT);
}

/* Nothing is written: the address is never mapped. */
static void write_memory(struct report *r, const struct probe *self) {
  (void)self;
  char byte = 0;
  struct iovec mine = {&byte, 1}, theirs = {(void *)8, 1};
  judge_late_error(r, "process_vm_writev", process_vm_writev(target(), &mine, 1, &theirs, 1, 0), EFAULT);
}

static void open_lane(struct report *r, const struct probe *self) {
  (void)self;
  held(r, "%s", "");
  for (int fd = LANE_FD_FIRST; fd <= LANE_FD_LAST; fd++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)target(), fd);
    int copy = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    /* A socket cannot be opened by name (ENXIO), but the answer shows that the name may be followed. */
    if (copy >= 0 || errno == ENXIO) return through(r, "%s: %s", path, copy >= 0 ? "open" : "reached");
    note(r, "%s: %s", path, error_name(errno));
  }
}

static void copy_lane(struct report *r, const struct probe *self) {
  (void)self;
  int pidfd = (int)syscall(SYS_pidfd_open, target(), 0);
  if (pidfd < 0) return held(r, "pidfd_open(%d): %s", (int)target(), error_name(errno));
  judge_call(r, "pidfd_getfd(3)", syscall(SYS_pidfd_getfd, pidfd, LANE_FD_FIRST, 0));
}

static void inherited(struct report *r, const struct probe *self) {
  (void)self;
  held(r, "%s", "");
  for (int fd = 3; fd < 4096; fd++) {
    if (fcntl(fd, F_GETFD) < 0) continue;
    char path[32], name[64] = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (readlink(path, name, sizeof name - 1) < 0) snprintf(name, sizeof name, "?");
    r->outcome = THROUGH;
    note(r, "%d is %s", fd, name);
  }
  if (r->outcome == HELD) held(r, "only 0, 1 and 2 are open");
}

/* Leaves a process behind that nobody waits for and that carries token=TEXT in its arguments. */
static void outlive(struct report *r, const struct probe *self) {
  (void)self;
  pid_t child = fork();
  if (child < 0) return unable(r, "fork: %s", error_name(errno));
  if (child == 0) {
    setsid();
    for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
    if (fork() != 0) _exit(0);
    for (int fd = 0; fd < 3; fd++) close(fd);
    prctl(PR_SET_PDEATHSIG, 0);
    sleep(20);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  held(r, "a process was left behind");
}

const struct probe process_probes[] = {
    {.name = "other-processes", .attack = other_processes},
    {.name = "signal-others", .attack = signal_others},
    {.name = "signal-all", .attack = signal_all},
    {.name = "kill-init", .attack = kill_init},
    {.name = "ptrace-init", .attack = trace},
    {.name = "read-init-memory", .attack = read_memory},
    {.name = "write-init-memory", .attack = write_memory},
    {.name = "open-lane", .attack = open_lane},
    {.name = "copy-lane", .attack = copy_lane},
    {.name = "inherited-descriptors", .attack = inherited},
    {.name = "outlive", .attack = outlive},
    {0},
};
