/* What the kernel tells and takes through /proc, /sys and its log. */
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Runs `step` on each of the ':'-separated paths, `%d` standing for the attacked process, until one gives 1. */
static void each_path(struct report *r, const char *paths, int (*step)(struct report *, const char *)) {
  char list[512], path[PATH_MAX];
  snprintf(list, sizeof list, "%s", paths);
  held(r, "%s", "");
  for (char *item = strtok(list, ":"); item != NULL; item = strtok(NULL, ":")) {
    char *mark = strstr(item, "%d");
    if (mark == NULL) snprintf(path, sizeof path, "%s", item);
    else snprintf(path, sizeof path, "%.*s%d%s", (int)(mark - item), item, (int)target(), mark + 2);
    if (step(r, path)) return;
  }
}

/* Opening for writing is the whole attack: nothing is written. */
static int opens_for_writing(struct report *r, const char *path) {
  int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    note(r, "%s: %s", path, error_name(errno));
    return 0;
  }
  close(fd);
  through(r, "%s is open for writing", path);
  return 1;
}

/* Whole words of 8 bytes, the only amount that some of these files give. */
static int reads(struct report *r, const char *path) {
  char text[4096 + 1];
  ssize_t n = read_start(path, text, sizeof text);
  if (n > 0) through(r, "%zd bytes of %s", n, path);
  else note(r, "%s: %s", path, n == 0 ? "empty" : error_name(errno));
  return n > 0;
}

/* What a process holds, by name. */
static void name_descriptors(struct report *r, const struct probe *self) {
  (void)self;
  int last = 0;
  for (int fd = 0; fd < 32; fd++) {
    char path[64], name[128] = {0};
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)target(), fd);
    if (readlink(path, name, sizeof name - 1) >= 0) return through(r, "%s is %s", path, name);
    if (errno != ENOENT || last == 0) last = errno;
  }
  held(r, "/proc/%d/fd: %s", (int)target(), error_name(last));
}

static int lists(struct report *r, const char *path) {
  DIR *directory = opendir(path);
  if (directory == NULL) {
    note(r, "%s: %s", path, error_name(errno));
    return 0;
  }
  int count = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) count += entry->d_name[0] != '.';
  closedir(directory);
  if (count > 0) through(r, "%d names in %s", count, path);
  else note(r, "%s: empty", path);
  return count > 0;
}

static void open_for_writing(struct report *r, const struct probe *self) { each_path(r, self->text, opens_for_writing); }
static void read_any(struct report *r, const struct probe *self) { each_path(r, self->text, reads); }
static void list_any(struct report *r, const struct probe *self) { each_path(r, self->text, lists); }

static void kernel_log(struct report *r, const struct probe *self) {
  (void)self;
  static char text[4096];
  enum { READ_ALL = 3 };
  judge_call(r, "syslog(read all)", klogctl(READ_ALL, text, sizeof text));
}

/* Addresses that are all zero are hidden. */
static void kernel_symbols(struct report *r, const struct probe *self) {
  (void)self;
  char text[4096];
  ssize_t n = read_start("/proc/kallsyms", text, sizeof text);
  if (n < 0) return held(r, "/proc/kallsyms: %s", error_name(errno));
  for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
    if (strtoull(line, NULL, 16) != 0) return through(r, "%.60s", line);
  held(r, "%zd bytes without an address", n);
}

static void kernel_keys(struct report *r, const struct probe *self) {
  (void)self;
  syscall(SYS_add_key, "user", "caisson-probe", "x", 1, KEY_SPEC_PROCESS_KEYRING);
  each_path(r, "/proc/keys:/proc/key-users", reads);
}

static int is_group_file(const char *name) {
  return strcmp(name, "release_agent") == 0 || strcmp(name, "cgroup.procs") == 0 || strcmp(name, "notify_on_release") == 0;
}

/* Two levels: the controllers of version 1, the root of version 2. */
static int writes_group_files(struct report *r, const char *path, int depth) {
  DIR *directory = opendir(path);
  if (directory == NULL) {
    if (depth == 2) note(r, "%s: %s", path, error_name(errno));
    return 0;
  }
  int worked = 0;
  for (struct dirent *entry; !worked && (entry = readdir(directory)) != NULL;) {
    char below[PATH_MAX];
    snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
    if (is_group_file(entry->d_name)) {
      int fd = open(below, O_WRONLY | O_CLOEXEC);
      if (fd >= 0) through(r, "%s is open for writing", below);
      worked = fd >= 0;
    } else if (depth > 0 && entry->d_type == DT_DIR && entry->d_name[0] != '.') {
      worked = writes_group_files(r, below, depth - 1);
    }
  }
  closedir(directory);
  return worked;
}

static void group_files(struct report *r, const struct probe *self) {
  (void)self;
  held(r, "%s", "");
  if (!writes_group_files(r, "/sys/fs/cgroup", 2) && r->saw[0] == 0) note(r, "no file of /sys/fs/cgroup is writable");
}

const struct probe proc_probes[] = {
    {.name = "kernel-log", .attack = kernel_log},
    {.name = "kernel-symbols", .attack = kernel_symbols},
    {.name = "kernel-keys", .attack = kernel_keys},
    {.name = "kernel-memory", .attack = read_any, .text = "/proc/kcore:/proc/kpageflags:/proc/kpagecount"},
    {.name = "kernel-tables", .attack = read_any, .text = "/proc/slabinfo:/proc/vmallocinfo:/proc/timer_list:/proc/sched_debug"},
    {.name = "sys-tree", .attack = list_any, .text = "/sys/kernel/debug:/sys/kernel/security:/sys/firmware:/sys/block:/sys/class/net:/sys/module"},
    {.name = "write-core-pattern", .attack = open_for_writing, .text = "/proc/sys/kernel/core_pattern"},
    {.name = "write-modprobe", .attack = open_for_writing, .text = "/proc/sys/kernel/modprobe"},
    {.name = "write-proc-sys", .attack = open_for_writing, .text = "/proc/sys/kernel/hostname:/proc/sys/vm/overcommit_memory:/proc/sys/net/ipv4/ip_forward:/proc/sys/kernel/randomize_va_space:/proc/sys/user/max_user_namespaces"},
    {.name = "write-binfmt", .attack = open_for_writing, .text = "/proc/sys/fs/binfmt_misc/register"},
    {.name = "write-sysrq", .attack = open_for_writing, .text = "/proc/sysrq-trigger"},
    {.name = "write-uevent-helper", .attack = open_for_writing, .text = "/sys/kernel/uevent_helper"},
    {.name = "write-sys", .attack = open_for_writing, .text = "/sys/kernel/mm/transparent_hugepage/enabled:/sys/kernel/profiling:/sys/power/state:/sys/class/net/lo/mtu"},
    {.name = "write-cgroup", .attack = group_files},
    {.name = "init-memory", .attack = read_any, .text = "/proc/%d/maps:/proc/%d/smaps:/proc/%d/auxv"},
    {.name = "init-environment", .attack = read_any, .text = "/proc/%d/environ"},
    {.name = "init-stack", .attack = read_any, .text = "/proc/%d/syscall:/proc/%d/stack"},
    {.name = "init-mem-file", .attack = open_for_writing, .text = "/proc/%d/mem"},
    {.name = "init-oom-score", .attack = open_for_writing, .text = "/proc/%d/oom_score_adj"},
    {.name = "init-descriptors", .attack = name_descriptors},
    {0},
};
