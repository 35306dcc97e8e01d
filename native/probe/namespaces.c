/* Leaving the namespaces, or making new ones with all capabilities in them. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int unshare(int flags);
int setns(int fd, int kind);

static void make_own(struct report *r, const struct probe *self) {
  judge_call(r, self->name, unshare((int)self->number));
}

/* By the file in /proc, then by a pidfd, which needs no /proc. */
static void enter(struct report *r, const struct probe *self) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)target(), self->text);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && setns(fd, 0) == 0) return through(r, "setns(%s) worked", path);
  int by_path = errno;
  const char *step = fd < 0 ? "open" : "setns";
  int pidfd = (int)syscall(SYS_pidfd_open, target(), 0);
  if (pidfd >= 0 && setns(pidfd, (int)self->number) == 0) return through(r, "setns(pidfd) worked");
  held(r, "%s(%s): %s, %s: %s", step, path, error_name(by_path), pidfd < 0 ? "pidfd_open" : "setns(pidfd)", error_name(errno));
}

static void finish_child(struct report *r, const char *call, long child) {
  if (child == 0) _exit(0);
  judge_call(r, call, child);
  if (child > 0) waitpid((pid_t)child, NULL, 0);
}

static void clone_user(struct report *r, const struct probe *self) {
  (void)self;
  finish_child(r, "clone(new user namespace)", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
}

static void clone3_user(struct report *r, const struct probe *self) {
  (void)self;
  struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
  finish_child(r, "clone3(new user namespace)", syscall(SYS_clone3, &arguments, sizeof arguments));
}

const struct probe namespace_probes[] = {
    {.name = "unshare-user", .attack = make_own, .number = CLONE_NEWUSER},
    {.name = "unshare-mount", .attack = make_own, .number = CLONE_NEWNS},
    {.name = "unshare-pid", .attack = make_own, .number = CLONE_NEWPID},
    {.name = "unshare-network", .attack = make_own, .number = CLONE_NEWNET},
    {.name = "unshare-ipc", .attack = make_own, .number = CLONE_NEWIPC},
    {.name = "unshare-uts", .attack = make_own, .number = CLONE_NEWUTS},
    {.name = "unshare-cgroup", .attack = make_own, .number = CLONE_NEWCGROUP},
    {.name = "unshare-time", .attack = make_own, .number = CLONE_NEWTIME},
    {.name = "clone-user", .attack = clone_user},
    {.name = "clone3-user", .attack = clone3_user},
    {.name = "setns-user", .attack = enter, .number = CLONE_NEWUSER, .text = "user"},
    {.name = "setns-mount", .attack = enter, .number = CLONE_NEWNS, .text = "mnt"},
    {.name = "setns-pid", .attack = enter, .number = CLONE_NEWPID, .text = "pid"},
    {.name = "setns-network", .attack = enter, .number = CLONE_NEWNET, .text = "net"},
    {.name = "setns-ipc", .attack = enter, .number = CLONE_NEWIPC, .text = "ipc"},
    {.name = "setns-uts", .attack = enter, .number = CLONE_NEWUTS, .text = "uts"},
    {.name = "setns-cgroup", .attack = enter, .number = CLONE_NEWCGROUP, .text = "cgroup"},
    {0},
};
