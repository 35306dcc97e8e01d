/* Device nodes: the ones that lead to the machine, and any that nobody asked for. */
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A path that is hidden shows the null device in its place. */
static int is_hidden(int fd) {
  struct stat s;
  return fstat(fd, &s) == 0 && S_ISCHR(s.st_mode) && s.st_rdev == makedev(1, 3);
}

static void open_device(struct report *r, const struct probe *self) {
  char list[512];
  snprintf(list, sizeof list, "%s", self->text);
  held(r, "%s", "");
  for (char *path = strtok(list, ":"); path != NULL; path = strtok(NULL, ":")) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 && !is_hidden(fd)) through(r, "%s is open", path);
    else note(r, "%s: %s", path, fd >= 0 ? "hidden" : error_name(errno));
    if (fd >= 0) close(fd);
    if (r->outcome == THROUGH) return;
  }
}

/* The devices that the OCI runtime specification gives every container ("Default Devices"), and those that have a
 * probe of their own. */
static int expected_device(const char *path) {
  static const char *const names[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts/ptmx", "/dev/fuse", "/dev/net/tun"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(path, names[i]) == 0) return 1;
  return 0;
}

static void list_devices(struct report *r, const char *at, int depth, int *count) {
  DIR *directory = opendir(at);
  if (directory == NULL) return;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    char path[PATH_MAX];
    struct stat s;
    snprintf(path, sizeof path, "%s/%s", at, entry->d_name);
    if (entry->d_name[0] == '.' || lstat(path, &s) != 0) continue;
    if (S_ISDIR(s.st_mode) && depth > 0) list_devices(r, path, depth - 1, count);
    if (!S_ISCHR(s.st_mode) && !S_ISBLK(s.st_mode)) continue;
    (*count)++;
    if (expected_device(path)) continue;
    r->outcome = THROUGH;
    note(r, "%s", path);
  }
  closedir(directory);
}

static void extra_devices(struct report *r, const struct probe *self) {
  (void)self;
  int count = 0;
  held(r, "%s", "");
  list_devices(r, "/dev", 2, &count);
  if (r->outcome == HELD) held(r, "%d device nodes, all expected", count);
}

const struct probe device_probes[] = {
    {.name = "device-memory", .attack = open_device, .text = "/dev/mem:/dev/port:/dev/kmem"},
    {.name = "device-kernel-log", .attack = open_device, .text = "/dev/kmsg:/proc/kmsg"},
    {.name = "device-disk", .attack = open_device, .text = "/dev/sda:/dev/vda:/dev/xvda:/dev/nvme0n1:/dev/dm-0:/dev/loop0"},
    {.name = "device-kvm", .attack = open_device, .text = "/dev/kvm:/dev/vfio/vfio:/dev/vhost-net:/dev/vhost-vsock"},
    {.name = "device-fuse", .attack = open_device, .text = "/dev/fuse:/dev/cuse"},
    {.name = "device-tun", .attack = open_device, .text = "/dev/net/tun"},
    {.name = "device-userfaultfd", .attack = open_device, .text = "/dev/userfaultfd"},
    {.name = "device-terminal", .attack = open_device, .text = "/dev/console:/dev/tty0:/dev/tty1:/dev/ttyS0"},
    {.name = "device-extra", .attack = extra_devices},
    {0},
};
