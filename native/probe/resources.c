/* Taking more than the share. Every amount is a parameter, and everything taken is given back. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, PAGE = 4096, CHILDREN_MAX = 20000 };

static void take_memory(struct report *r, const struct probe *self) {
  (void)self;
  long mib = parameter_number("mib", 64);
  char *memory = mmap(NULL, (size_t)mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return held(r, "mmap(%ld MiB): %s", mib, error_name(errno));
  for (size_t at = 0; at < (size_t)mib * MIB; at += PAGE) ((volatile char *)memory)[at] = 1;
  through(r, "%ld MiB touched", mib);
}

static void take_processes(struct report *r, const struct probe *self) {
  (void)self;
  long count = parameter_number("count", 64), made = 0;
  static pid_t children[CHILDREN_MAX];
  int error = 0;
  for (; made < count && made < CHILDREN_MAX; made++) {
    pid_t child = fork();
    if (child == 0) {
      pause();
      _exit(0);
    }
    if (child < 0) {
      error = errno;
      break;
    }
    children[made] = child;
  }
  for (long i = 0; i < made; i++) kill(children[i], SIGKILL);
  for (long i = 0; i < made; i++) waitpid(children[i], NULL, 0);
  if (error == 0) through(r, "%ld processes at once", made);
  else held(r, "%s after %ld processes", error_name(error), made);
}

static void take_disk(struct report *r, const struct probe *self) {
  (void)self;
  static char chunk[MIB];
  long mib = parameter_number("mib", 64), written = 0;
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/caisson-probe-XXXXXX", parameter("dir", "."));
  signal(SIGXFSZ, SIG_IGN);
  int fd = mkstemp(path);
  if (fd < 0) return unable(r, "no file: %s", error_name(errno));
  unlink(path);
  memset(chunk, 1, sizeof chunk);
  int error = 0;
  for (; written < mib && error == 0; written++)
    if (write(fd, chunk, sizeof chunk) != (ssize_t)sizeof chunk) error = errno != 0 ? errno : ENOSPC;
  close(fd);
  if (error == 0) through(r, "%ld MiB written", written);
  else held(r, "%s after %ld MiB", error_name(error), written - 1);
}

static void take_inodes(struct report *r, const struct probe *self) {
  (void)self;
  long count = parameter_number("count", 1000), made = 0;
  char *directory = own_directory(), path[PATH_MAX];
  if (directory == NULL) return unable(r, "no directory: %s", error_name(errno));
  int error = 0;
  for (; made < count && error == 0; made++) {
    snprintf(path, sizeof path, "%s/%ld", directory, made);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) error = errno;
    else close(fd);
  }
  if (error != 0) made--;
  for (long i = 0; i < made; i++) {
    snprintf(path, sizeof path, "%s/%ld", directory, i);
    unlink(path);
  }
  rmdir(directory);
  if (error == 0) through(r, "%ld files made", made);
  else held(r, "%s after %ld files", error_name(error), made);
}

static void nest_directories(struct report *r, const struct probe *self) {
  (void)self;
  long depth = parameter_number("count", 1000), made = 0;
  char *directory = own_directory();
  if (directory == NULL || chdir(directory) != 0) return unable(r, "no directory: %s", error_name(errno));
  int error = 0;
  for (; made < depth && error == 0; made++)
    if (mkdir("d", 0700) != 0 || chdir("d") != 0) error = errno;
  if (error != 0) made--;
  for (long i = 0; i < made; i++)
    if (chdir("..") != 0 || rmdir("d") != 0) break;
  if (chdir("..") == 0) rmdir(strrchr(directory, '/') + 1);
  if (error == 0) through(r, "%ld directories deep", made);
  else held(r, "%s at depth %ld", error_name(error), made);
}

static void take_descriptors(struct report *r, const struct probe *self) {
  (void)self;
  long count = parameter_number("count", 500), made = 0;
  for (; made < count; made++)
    if (dup(STDERR_FILENO) < 0) return held(r, "%s after %ld descriptors", error_name(errno), made);
  through(r, "%ld descriptors open", made);
}

static void flood_stdout(struct report *r, const struct probe *self) {
  (void)self;
  static char chunk[64 * 1024];
  r->line_fd = STDERR_FILENO;
  memset(chunk, 'y', sizeof chunk);
  long mib = parameter_number("mib", 64);
  for (long long left = (long long)mib * MIB; left > 0;) {
    ssize_t n = write(STDOUT_FILENO, chunk, left < (long long)sizeof chunk ? (size_t)left : sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return held(r, "write: %s with %lld MiB to go", error_name(errno), left / MIB);
    left -= n;
  }
  through(r, "%ld MiB written", mib);
}

static double cpu_ms(void) {
  struct rusage used;
  getrusage(RUSAGE_CHILDREN, &used);
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

/* Two spinning processes for ms=N of wall time; through when they got more than most=THOUSANDTHS of a core. */
static void take_cpu(struct report *r, const struct probe *self) {
  (void)self;
  long ms = parameter_number("ms", 1000), most = parameter_number("most", 700);
  long long start = now_ms();
  for (int i = 0; i < 2; i++) {
    pid_t child = fork();
    if (child < 0) return unable(r, "fork: %s", error_name(errno));
    if (child == 0) {
      while (now_ms() < start + ms) continue;
      _exit(0);
    }
  }
  while (wait(NULL) > 0) continue;
  double share = cpu_ms() * 1000 / (double)(now_ms() - start);
  (share > (double)most ? through : held)(r, "%.0f thousandths of a core for %lld ms", share, now_ms() - start);
}

/* Uses ms=N of CPU time, however long that takes. */
static void spin(struct report *r, const struct probe *self) {
  (void)self;
  long ms = parameter_number("ms", 1000);
  struct timespec used;
  do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  while (used.tv_sec * 1000 + used.tv_nsec / 1000000 < ms);
  through(r, "%ld ms of CPU time used", ms);
}

/* Deaf to every signal that can be ignored. */
static void linger(struct report *r, const struct probe *self) {
  (void)self;
  long ms = parameter_number("ms", 1000);
  for (int s = 1; s < 32; s++) signal(s, SIG_IGN);
  for (long long end = now_ms() + ms; now_ms() < end;) usleep(10000);
  through(r, "still here after %ld ms", ms);
}

const struct probe resource_probes[] = {
    {.name = "take-memory", .attack = take_memory},
    {.name = "take-processes", .attack = take_processes},
    {.name = "take-disk", .attack = take_disk},
    {.name = "take-inodes", .attack = take_inodes},
    {.name = "nest-directories", .attack = nest_directories},
    {.name = "take-descriptors", .attack = take_descriptors},
    {.name = "flood-stdout", .attack = flood_stdout},
    {.name = "take-cpu", .attack = take_cpu},
    {.name = "spin", .attack = spin},
    {.name = "linger", .attack = linger},
    {0},
};
