#include "init.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

static uint8_t report[64 * 1024];
static size_t used;

static void add(const char *name, const char *value, size_t length) {
  size_t name_length = strlen(name) + 1;
  if (used + name_length + length + 1 > sizeof report) die(70);
  memcpy(report + used, name, name_length);
  memcpy(report + used + name_length, value, length);
  report[used + name_length + length] = 0;
  used += name_length + length + 1;
}

static void add_text(const char *name, const char *value) { add(name, value, strlen(value)); }

static void add_number(const char *name, long value) {
  char text[24];
  snprintf(text, sizeof text, "%ld", value);
  add_text(name, text);
}

static void add_file(const char *path) {
  static char text[8 * 1024];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
  if (fd >= 0) close(fd);
  if (n < 0) n = 0;
  for (ssize_t i = 0; i < n; i++)
    if (text[i] == 0) text[i] = ' ';
  add(path, text, (size_t)n);
}

static void add_namespaces(void) {
  static const char *const kinds[] = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    char path[32], target[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
    ssize_t n = readlink(path, target, sizeof target);
    if (n > 0) add(path, target, (size_t)n);
  }
}

/* The kernel charges to the owner, as a uid of this namespace, what it counts by user in here (ioctl_nsfs(2)). */
static long user_namespace_owner(void) {
  uid_t owner;
  int fd = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int told = ioctl(fd, NS_GET_OWNER_UID, &owner);
  close(fd);
  return told == 0 ? (long)owner : -1;
}

static long other_processes(void) {
  DIR *proc = opendir("/proc");
  if (proc == NULL) return -1;
  long count = 0;
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;)
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && strcmp(entry->d_name, "1") != 0) count++;
  closedir(proc);
  return count;
}

void send_hello(int landlock_abi) {
  struct utsname kernel;
  struct statvfs root;
  used = 0;
  if (uname(&kernel) == 0) {
    add_text("kernel", kernel.release);
    add_text("hostname", kernel.nodename);
  }
  add_number("pid", getpid());
  add_number("uid", getuid());
  add_number("gid", getgid());
  add_number("landlock", landlock_abi);
  add_number("root_read_only", statvfs("/", &root) == 0 && (root.f_flag & ST_RDONLY) != 0);
  add_number("other_processes", other_processes());
  add_number("user_namespace_owner", user_namespace_owner());
  add_file("/proc/sys/user/max_inotify_instances");
  add_file("/proc/sys/user/max_inotify_watches");
  add_file("/proc/version");
  add_file("/proc/self/status");
  add_file("/proc/self/uid_map");
  add_file("/proc/self/gid_map");
  add_file("/proc/net/dev");
  add_namespaces();
  send_frame(CONTROL_FD, LANE_HELLO, 0, 0, report, used);
}
