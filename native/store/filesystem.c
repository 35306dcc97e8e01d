#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void set(int fs, const char *key, const char *value) {
  int bad = value == NULL ? fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0) : fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0);
  if (bad) fail(key);
}

/*
 * Mounts the file system of a loop device, which is also how the journal of a clone is replayed: FS_READ_ONLY is about this
 * mount, never about the file system. The device must be held open by the caller until then. A device whose file
 * system is mounted already gives another mount of the same one.
 */
int mount_loop(const char *type, int loop_number, int flags) {
  char source[32];
  snprintf(source, sizeof source, "/dev/loop%d", loop_number);
  int fs = fsopen(type, FSOPEN_CLOEXEC);
  if (fs < 0) fail(type);
  set(fs, "source", source);
  if (strcmp(type, "ext4") == 0) {
    set(fs, "errors", "remount-ro");
    set(fs, "discard", NULL);       /* what is deleted inside is free in the pool */
    set(fs, "noinit_itable", NULL); /* the template has its inode tables ready */
  }
  if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) fail("mount");
  unsigned attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME;
  if (flags & FS_READ_ONLY) attributes |= MOUNT_ATTR_RDONLY;
  if (flags & FS_NO_EXEC) attributes |= MOUNT_ATTR_NOEXEC;
  int mount = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
  if (mount < 0) fail("fsmount");
  close(fs);
  return mount;
}

int mount_image(const char *image, int flags, int *loop_number) {
  int image_fd = lock_image(image, 10000), loop_fd;
  int loop = loop_over(image_fd, &loop_fd);
  int mount = mount_loop("ext4", loop, flags);
  close(loop_fd);
  close(image_fd);
  if (loop_number != NULL) *loop_number = loop;
  return mount;
}

static void write_map(pid_t pid, const char *file, uid_t host_uid) {
  char path[64], map[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
  int length = snprintf(map, sizeof map, "0 %u 1\n%d %u 1\n", host_uid - 1, OWNER_ID, host_uid);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, map, (size_t)length) != length) fail(file);
  close(fd);
}

/*
 * A user namespace in which the owner on disk is `host_uid`, root on disk is the id before it, and nobody else is anybody.
 * The id before it is the root of the sandbox, which nothing of the agent runs as: gVisor's file server does, makes each
 * file as it and gives it to the owner.
 */
static int owner_namespace(uid_t host_uid) {
  int ready[2];
  char byte;
  if (pipe2(ready, O_CLOEXEC) != 0) fail("pipe");
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWUSER) != 0) _exit(1);
    if (write(ready[1], "", 1) != 1) _exit(1);
    for (;;) pause();
  }
  close(ready[1]);
  if (read(ready[0], &byte, 1) != 1) fail_as(EPERM, "user namespace");
  close(ready[0]);
  write_map(pid, "uid_map", host_uid);
  write_map(pid, "gid_map", host_uid);
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("user namespace");
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  return fd;
}

void map_owner(int mount_fd, uid_t host_uid) {
  int namespace = owner_namespace(host_uid);
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)namespace};
  if (mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) fail("idmap");
  close(namespace);
}

/* Returns when no device uses the image any more. */
void wait_until_free(const char *image, int patience_ms) { close(lock_image(image, patience_ms)); }
