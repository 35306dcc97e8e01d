/* Becoming somebody else, or being somebody already. */
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static void uid_zero(struct report *r, const struct probe *self) {
  (void)self;
  uid_t real, effective, saved;
  if (getresuid(&real, &effective, &saved) != 0) return unable(r, "getresuid: %s", error_name(errno));
  int zero = real == 0 || effective == 0 || saved == 0 || getgid() == 0 || getegid() == 0;
  (zero ? through : held)(r, "uid %u, effective %u, saved %u, gid %u", real, effective, saved, getgid());
}

static void capabilities(struct report *r, const struct probe *self) {
  (void)self;
  static const char *const sets[] = {"CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"};
  int any = 0;
  held(r, "%s", "");
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    const char *value = status_field("self", sets[i]);
    if (value == NULL) return unable(r, "no %s in /proc/self/status", sets[i]);
    if (strtoull(value, NULL, 16) != 0) any = 1;
    note(r, "%s %s", sets[i], value);
  }
  if (any) r->outcome = THROUGH;
}

static void take_capability(struct report *r, const struct probe *self) {
  (void)self;
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{1u << CAP_SYS_ADMIN, 1u << CAP_SYS_ADMIN, 0}, {0, 0, 0}};
  judge_call(r, "capset(CAP_SYS_ADMIN)", syscall(SYS_capset, &header, data));
}

static void set_ids(struct report *r, const struct probe *self) {
  (void)self;
  const gid_t group = 0;
  held(r, "%s", "");
  int worked = 0;
  worked |= setgroups(1, &group) == 0;
  note(r, "setgroups(0): %s", worked ? "worked" : error_name(errno));
  int as_group = setresgid(0, 0, 0) == 0;
  note(r, "setresgid(0): %s", as_group ? "worked" : error_name(errno));
  int as_user = setresuid(0, 0, 0) == 0;
  note(r, "setresuid(0): %s", as_user ? "worked" : error_name(errno));
  if (worked || as_group || as_user) r->outcome = THROUGH;
}

static const char *set_uid_program(char *path, size_t size) {
  static const char *const names[] = {"su", "mount", "umount", "passwd", "chsh", "chfn", "gpasswd", "sudo", "pkexec", "fusermount3"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct stat s;
    snprintf(path, size, "/usr/bin/%s", names[i]);
    if (stat(path, &s) == 0 && S_ISREG(s.st_mode) && (s.st_mode & S_ISUID) != 0) return names[i];
  }
  return NULL;
}

/* Prints its help into a full pipe: it is still there, blocked, when its user id is read. */
static pid_t start_blocked(const char *path, const int pipe_ends[2]) {
  char page[4096] = {0};
  fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK);
  while (write(pipe_ends[1], page, sizeof page) > 0) continue;
  fcntl(pipe_ends[1], F_SETFL, 0);
  pid_t child = fork();
  if (child != 0) return child;
  if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)) _exit(125);
  dup2(pipe_ends[1], STDOUT_FILENO);
  dup2(pipe_ends[1], STDERR_FILENO);
  execl(path, path, "--help", (char *)NULL);
  _exit(126);
}

static int euid_of(pid_t child, const char *name) {
  char pid[16], comm[64], path[64];
  snprintf(pid, sizeof pid, "%d", (int)child);
  snprintf(path, sizeof path, "/proc/%d/comm", (int)child);
  for (long long end = now_ms() + 1000; now_ms() < end; usleep(2000)) {
    if (read_start(path, comm, sizeof comm) <= 0 || strncmp(comm, name, strlen(name)) != 0) continue;
    const char *ids = status_field(pid, "Uid");
    int real, effective;
    if (ids != NULL && sscanf(ids, "%d %d", &real, &effective) == 2) return effective;
  }
  return -1;
}

static void set_uid_exec(struct report *r, const struct probe *self) {
  (void)self;
  char path[64];
  int ends[2];
  const char *name = set_uid_program(path, sizeof path);
  if (name == NULL) return held(r, "no set-uid program in /usr/bin");
  if (pipe(ends) != 0) return unable(r, "pipe: %s", error_name(errno));
  pid_t child = start_blocked(path, ends);
  if (child < 0) return unable(r, "fork: %s", error_name(errno));
  int effective = euid_of(child, name);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  if (effective < 0) unable(r, "%s was not seen running", path);
  else if (effective == 0) through(r, "%s ran with effective uid 0", path);
  else held(r, "%s ran with effective uid %d", path, effective);
}

static void no_new_privileges(struct report *r, const struct probe *self) {
  (void)self;
  int value = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  if (value < 0) return unable(r, "prctl: %s", error_name(errno));
  (value == 1 ? held : through)(r, "NoNewPrivs %d", value);
}

static void seccomp_mode(struct report *r, const struct probe *self) {
  (void)self;
  const char *mode = status_field("self", "Seccomp");
  if (mode == NULL) return unable(r, "no Seccomp in /proc/self/status");
  (strcmp(mode, "2") == 0 ? held : through)(r, "Seccomp %s", mode);
}

static void raise_rlimit(struct report *r, const struct probe *self) {
  (void)self;
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return unable(r, "getrlimit: %s", error_name(errno));
  rlim_t before = limit.rlim_max++;
  long result = setrlimit(RLIMIT_NOFILE, &limit);
  judge_call(r, "setrlimit(NOFILE, hard + 1)", result);
  note(r, "hard limit was %llu", (unsigned long long)before);
}

static int expected_variable(const char *entry) {
  static const char *const names[] = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "PWD", "OLDPWD", "SHLVL", "_", "HOSTNAME", "TERM"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strncmp(entry, names[i], strlen(names[i])) == 0 && entry[strlen(names[i])] == '=') return 1;
  return 0;
}

/* Names only: a leaked value must not be printed a second time. */
static void environment(struct report *r, const struct probe *self) {
  (void)self;
  held(r, "%s", "");
  int count = 0;
  for (char **entry = environ; *entry != NULL; entry++, count++) {
    if (expected_variable(*entry)) continue;
    r->outcome = THROUGH;
    note(r, "%.*s", (int)strcspn(*entry, "="), *entry);
  }
  if (r->outcome == HELD) held(r, "%d variables, all of the sandbox's own", count);
}

const struct probe privilege_probes[] = {
    {.name = "uid-zero", .attack = uid_zero},
    {.name = "capabilities", .attack = capabilities},
    {.name = "take-capability", .attack = take_capability},
    {.name = "set-ids", .attack = set_ids},
    {.name = "set-uid-program", .attack = set_uid_exec},
    {.name = "no-new-privileges", .attack = no_new_privileges},
    {.name = "seccomp-mode", .attack = seccomp_mode},
    {.name = "raise-rlimit", .attack = raise_rlimit},
    {.name = "environment", .attack = environment},
    {0},
};
