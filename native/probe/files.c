/* Reading the host's files, and writing where nothing may be written. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether a path leads to a file that holds token=TEXT, which only the host's canaries do. */
static int finds_token(const char *path) {
  char text[512];
  const char *token = parameter("token", NULL);
  ssize_t n = read_start(path, text, sizeof text);
  if (n < 0) return 0;
  errno = ENODATA;
  return token != NULL && strstr(text, token) != NULL;
}

static void read_canary(struct report *r, const struct probe *self) {
  const char *path = parameter(self->text, NULL);
  if (path == NULL) return held(r, "nothing to look for: no %s=", self->text);
  if (finds_token(path)) through(r, "%s was read", path);
  else held(r, "%s: %s", path, error_name(errno));
}

static void read_shadow(struct report *r, const struct probe *self) {
  (void)self;
  char text[256];
  ssize_t n = read_start("/etc/shadow", text, sizeof text);
  if (n < 0) held(r, "open(/etc/shadow): %s", error_name(errno));
  else if (n == 0) held(r, "/etc/shadow is empty");
  else through(r, "%zd bytes, the first are %.4s", n, text);
}

static const char *const canaries[] = {"root-canary", "home-canary", "tmp-canary"};
enum { CANARIES = sizeof canaries / sizeof *canaries };

/* Tries every canary behind each of the prefixes; `*` in a prefix is the process that is attacked. */
static void try_routes(struct report *r, const char *const *prefixes, size_t count) {
  int tried = 0, last = 0;
  for (size_t c = 0; c < CANARIES; c++) {
    const char *canary = parameter(canaries[c], NULL);
    for (size_t i = 0; canary != NULL && i < count; i++, tried++) {
      char path[PATH_MAX];
      snprintf(path, sizeof path, prefixes[i], (int)target(), (int)target());
      strncat(path, canary, sizeof path - strlen(path) - 1);
      if (finds_token(path)) return through(r, "%s was read", path);
      last = errno;
    }
  }
  held(r, "%d routes, the last gave %s", tried, tried > 0 ? error_name(last) : "nothing: no canary");
}

static void route_up(struct report *r, const struct probe *self) {
  (void)self;
  static const char *const prefixes[] = {
      "../../../../../../../../../..", "/..",  "/usr/../../..", "/proc/self/root", "/proc/self/root/..", "/proc/self/cwd/../../../../../../..",
      "/proc/thread-self/root/../..",  "/dev/../.."};
  for (int i = 0; i < 64; i++)
    if (chdir("..") != 0) break;
  try_routes(r, prefixes, sizeof prefixes / sizeof *prefixes);
}

static void route_init(struct report *r, const struct probe *self) {
  (void)self;
  static const char *const prefixes[] = {"/proc/%d/root", "/proc/%d/root/..", "/proc/%d/cwd/../../../../../../../..", "/proc/%d/task/%d/root"};
  try_routes(r, prefixes, sizeof prefixes / sizeof *prefixes);
}

static const char *wanted;
static char found[PATH_MAX];
static long seen;
static long long walk_ends;

static int skipped(const char *path) {
  static const char *const trees[] = {"/proc", "/sys", "/usr"};
  for (size_t i = 0; i < sizeof trees / sizeof *trees; i++)
    if (strcmp(path, trees[i]) == 0) return 1;
  return 0;
}

static int look(const char *path, const struct stat *s, int type, struct FTW *where) {
  (void)s;
  seen++;
  if (now_ms() > walk_ends) return FTW_STOP;
  if (type == FTW_D && skipped(path)) return FTW_SKIP_SUBTREE;
  if (strcmp(path + where->base, wanted) != 0) return FTW_CONTINUE;
  snprintf(found, sizeof found, "%s", path);
  return FTW_STOP;
}

/* Any place that shows a directory of the host, whatever it is called here. */
static void search(struct report *r, const struct probe *self) {
  (void)self;
  const char *canary = parameter("root-canary", parameter("tmp-canary", NULL));
  if (canary == NULL) return held(r, "nothing to look for: no root-canary= and no tmp-canary=");
  static char copy[PATH_MAX];
  snprintf(copy, sizeof copy, "%s", canary);
  wanted = basename(copy);
  walk_ends = now_ms() + 4000;
  nftw(parameter("from", "/"), look, 32, FTW_PHYS | FTW_ACTIONRETVAL);
  if (found[0] != 0) through(r, "found as %s", found);
  else if (now_ms() > walk_ends) unable(r, "not done after %ld names", seen);
  else held(r, "%ld names, none of them the canary", seen);
}

/* One process swaps a directory for a link to / while the other opens through it, for a second. */
static void swap_race(struct report *r, const struct probe *self) {
  (void)self;
  const char *canary = parameter("root-canary", parameter("tmp-canary", NULL));
  char *directory = own_directory();
  if (canary == NULL || directory == NULL) return held(r, "nothing to race for: no canary or no directory");
  char name[PATH_MAX], straight[2 * PATH_MAX], up[2 * PATH_MAX];
  snprintf(name, sizeof name, "%s/swap", directory);
  snprintf(straight, sizeof straight, "%s%s", name, canary);
  snprintf(up, sizeof up, "%s/../../../../../../..%s", name, canary);
  pid_t child = fork();
  if (child < 0) return unable(r, "fork: %s", error_name(errno));
  while (child == 0) {
    if (symlink("/", name) != 0 && errno != EEXIST) _exit(1);
    unlink(name);
    mkdir(name, 0700);
    rmdir(name);
  }
  long tries = 0;
  int won = 0;
  for (long long end = now_ms() + 1000; !won && now_ms() < end; tries++) won = finds_token(straight) || finds_token(up);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  unlink(name);
  rmdir(name);
  rmdir(directory);
  if (won) through(r, "%s was read after %ld tries", canary, tries);
  else held(r, "%ld tries in 1 s, the canary never showed", tries);
}

/* A link keeps a file of the host alive and gives it a second, writable, directory. */
static void hard_link(struct report *r, const struct probe *self) {
  (void)self;
  char *directory = own_directory();
  if (directory == NULL) return unable(r, "no directory: %s", error_name(errno));
  char name[PATH_MAX];
  snprintf(name, sizeof name, "%s/link", directory);
  judge_call(r, "link(/usr/bin/env)", link(parameter("link-from", "/usr/bin/env"), name));
  unlink(name);
  rmdir(directory);
}

static void create_in(struct report *r, const struct probe *self) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/.caisson-probe-%d", self->text, (int)getpid());
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  judge_call(r, path, fd);
  if (fd >= 0) unlink(path);
}

const struct probe file_probes[] = {
    {.name = "read-shadow", .attack = read_shadow},
    {.name = "read-host-root", .attack = read_canary, .text = "root-canary"},
    {.name = "read-host-home", .attack = read_canary, .text = "home-canary"},
    {.name = "read-host-tmp", .attack = read_canary, .text = "tmp-canary"},
    {.name = "route-dot-dot", .attack = route_up},
    {.name = "route-init", .attack = route_init},
    {.name = "search-host-files", .attack = search},
    {.name = "symlink-swap", .attack = swap_race},
    {.name = "hard-link", .attack = hard_link},
    {.name = "create-in-root", .attack = create_in, .text = "/"},
    {.name = "create-in-usr", .attack = create_in, .text = "/usr"},
    {.name = "create-in-etc", .attack = create_in, .text = "/etc"},
    {0},
};
