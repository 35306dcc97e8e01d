#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES_MAX = 128 };

static int root_fd = -1;
static uint64_t workspace_mount;

static int mount_of(int fd, uint64_t *mount) {
  struct statx info;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &info) != 0) return -1;
  *mount = info.stx_mnt_id;
  return 0;
}

void resolve_start(void) {
  root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int workspace = open("/workspace", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0 || workspace < 0 || mount_of(workspace, &workspace_mount) != 0) die(70);
  close(workspace);
}

void resolve_home(void) {
  if (fchdir(root_fd) != 0) die(70);
}

/* The kernel gives up with EAGAIN when a rename meets a walk through "..". It is asked again, a bounded number of times. */
static int open_how(int folder, const char *path, struct open_how how) {
  for (int tries = 0;; tries++) {
    int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == TRIES_MAX) return fd;
  }
}

int resolve(const char *path, uint32_t flags, uint64_t open_flags) {
  struct open_how how = {.flags = open_flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  if ((flags & FLAG_NO_LINKS) != 0) how.resolve |= RESOLVE_NO_SYMLINKS;
  if ((flags & FLAG_FOLLOW) == 0) how.flags |= O_NOFOLLOW;
  int fd = open_how(root_fd, path, how);
  uint64_t mount;
  if (fd < 0 || (mount_of(fd, &mount) == 0 && mount == workspace_mount)) return fd;
  /* A link to the root itself, which is no part of the workspace. */
  close(fd);
  errno = ENOENT;
  return -1;
}

int resolve_parent(const char *path, uint32_t flags, const char **name) {
  char folder[PATH_BYTES_MAX + 1];
  const char *slash = strrchr(path, '/');
  if (slash == path) { /* the workspace itself has no folder that could be changed */
    errno = EBUSY;
    return -1;
  }
  size_t length = (size_t)(slash - path);
  memcpy(folder, path, length);
  folder[length] = 0;
  *name = slash + 1;
  return resolve(folder, flags | FLAG_FOLLOW, O_PATH | O_DIRECTORY);
}

int open_in(int folder, const char *name, uint64_t open_flags, mode_t mode) {
  return open_how(folder, name, (struct open_how){
    .flags = open_flags | O_CLOEXEC | O_NOFOLLOW,
    .mode = mode,
    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
  });
}

/* Looked at before it is opened, so that the other end of a FIFO is not woken; O_NONBLOCK and looked at again, because
 * it may be another file by then. A lease that the agent holds makes the open fail instead of wait. */
int open_regular(int folder, const char *name, uint64_t open_flags, struct stat *info) {
  if (fstatat(folder, name, info, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  int fd = -1;
  if (S_ISREG(info->st_mode)) {
    fd = open_in(folder, name, open_flags | O_NONBLOCK, 0);
    if (fd < 0 || (fstat(fd, info) == 0 && S_ISREG(info->st_mode))) return fd;
    close(fd);
  }
  errno = S_ISDIR(info->st_mode) ? EISDIR : S_ISLNK(info->st_mode) ? ELOOP : ENXIO;
  return -1;
}

int make_parents(const char *path, uint32_t flags) {
  char prefix[PATH_BYTES_MAX + 1];
  for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    size_t length = (size_t)(slash - path);
    memcpy(prefix, path, length);
    prefix[length] = 0;
    if (strchr(prefix + 1, '/') == NULL) continue; /* the workspace */
    const char *name;
    int folder = resolve_parent(prefix, flags, &name);
    if (folder < 0) return -1;
    int made = mkdirat(folder, name, 0755);
    int error = errno;
    close(folder);
    errno = error;
    if (made != 0 && error != EEXIST) return -1;
  }
  return 0;
}

void temporary_name(char name[32]) {
  uint64_t number;
  if (getrandom(&number, sizeof number, 0) != sizeof number) die(70);
  snprintf(name, 32, ".caisson-%016llx", (unsigned long long)number);
}
