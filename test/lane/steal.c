/* Tries from inside a sandbox to get hold of pid 1 and of its lanes. Runs as the agent does.
 *
 *   steal once      prints one line per attempt: its name, and `got` or the errno that it met
 *   steal kill HOW  sends SIGKILL to pid 1 in one of the six ways there are, and prints what came of it
 *   steal race MS   attacks every process it can see for MS milliseconds, and prints how often it got something
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static long got;

static int tell(const char *name, long result) {
  if (result >= 0) printf("%s got\n", name);
  else printf("%s %d\n", name, errno);
  return result >= 0;
}

static long open_of(int pid, const char *what, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
  return open(path, flags | O_CLOEXEC);
}

static long list_fds(int pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  DIR *folder = opendir(path);
  if (folder == NULL) return -1;
  long seen = 0;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
    if (entry->d_name[0] != '.') seen++;
  closedir(folder);
  errno = ENOENT;
  return seen > 0 ? seen : -1;
}

static char target[64];

static long link_of(int pid, int fd) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
  return readlink(path, target, sizeof target - 1);
}

static long take_fd(int pid, int fd) {
  long pidfd = syscall(SYS_pidfd_open, pid, 0);
  if (pidfd < 0) return -1;
  long taken = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
  close((int)pidfd);
  return taken;
}

static long peek(int pid, int writes) {
  static char byte;
  struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
  return writes ? process_vm_writev(pid, &here, 1, &there, 1, 0) : process_vm_readv(pid, &here, 1, &there, 1, 0);
}

static int own_descriptors(void) {
  int count = 0;
  for (int fd = 3; fd < 1024; fd++)
    if (fcntl(fd, F_GETFD) >= 0) count++;
  return count;
}

static int once(void) {
  struct rlimit none = {0, 0};
  printf("inherited-descriptors %d\n", own_descriptors());
  tell("list-descriptors", list_fds(1));
  tell("link-of-control", link_of(1, 3));
  tell("link-of-data", link_of(1, 4));
  tell("open-control", open_of(1, "fd/3", O_RDWR));
  tell("open-data", open_of(1, "fd/4", O_WRONLY));
  tell("open-task-control", open_of(1, "task/1/fd/3", O_RDWR));
  tell("open-memory", open_of(1, "mem", O_RDWR));
  tell("open-maps", open_of(1, "maps", O_RDONLY));
  tell("open-root", open_of(1, "root/etc", O_RDONLY));
  tell("oom-score", open_of(1, "oom_score_adj", O_WRONLY));
  tell("ptrace-attach", ptrace(PTRACE_ATTACH, 1, 0, 0));
  tell("ptrace-seize", ptrace(PTRACE_SEIZE, 1, 0, 0));
  tell("pidfd-getfd", take_fd(1, 3));
  tell("vm-read", peek(1, 0));
  tell("vm-write", peek(1, 1));
  tell("kcmp", syscall(SYS_kcmp, getpid(), 1, KCMP_FILE, 0, 3));
  tell("limits", prlimit(1, RLIMIT_NOFILE, &none, NULL));
  return 0;
}

static int is_socket(long fd) {
  struct stat status;
  return fd >= 0 && fstat((int)fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* Only sockets count: a program that starts has its libraries open for a moment. */
static void attack(int pid) {
  for (int fd = 3; fd <= 4; fd++) {
    memset(target, 0, sizeof target);
    if (link_of(pid, fd) > 0 && strncmp(target, "socket:", 7) == 0) got++;
    long taken = take_fd(pid, fd);
    if (is_socket(taken)) got++;
    if (taken >= 0) close((int)taken);
  }
}

static int murder(const char *how) {
  siginfo_t info = {.si_signo = SIGKILL, .si_code = SI_QUEUE};
  if (strcmp(how, "kill") == 0) return !tell(how, kill(1, SIGKILL));
  if (strcmp(how, "all") == 0) return !tell(how, kill(-1, SIGKILL));
  if (strcmp(how, "tkill") == 0) return !tell(how, syscall(SYS_tkill, 1, SIGKILL));
  if (strcmp(how, "tgkill") == 0) return !tell(how, syscall(SYS_tgkill, 1, 1, SIGKILL));
  if (strcmp(how, "queue") == 0) return !tell(how, syscall(SYS_rt_sigqueueinfo, 1, SIGKILL, &info));
  if (strcmp(how, "pidfd") == 0) return !tell(how, syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, 1, 0), SIGKILL, NULL, 0));
  return 2;
}

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A process between fork and exec still holds the lanes; whatever it becomes then has no descriptor above 2. */
static int race(long ms) {
  long rounds = 0, most = 0;
  for (long end = now_ms() + ms; now_ms() < end; rounds++) {
    DIR *proc = opendir("/proc");
    long seen = 0;
    for (struct dirent *entry; proc != NULL && (entry = readdir(proc)) != NULL;) {
      int pid = atoi(entry->d_name);
      if (pid <= 0 || pid == getpid()) continue;
      seen++;
      attack(pid);
    }
    if (seen > most) most = seen;
    if (proc != NULL) closedir(proc);
  }
  printf("rounds %ld most %ld got %ld\n", rounds, most, got);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "once") == 0) return once();
  if (argc == 3 && strcmp(argv[1], "kill") == 0) return murder(argv[2]);
  if (argc == 3 && strcmp(argv[1], "race") == 0) return race(atol(argv[2]));
  return 2;
}
