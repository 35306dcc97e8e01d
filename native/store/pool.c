#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* reflink FOLDER: whether files there can share their blocks. */
void op_reflink(char **arg) {
  char block[4096] = {1};
  int a = open(arg[0], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), b = open(arg[0], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (a < 0 || b < 0 || write(a, block, sizeof block) != sizeof block || ioctl(b, STORE_FICLONE, a) != 0) {
    if (errno == ENOSPC || errno == EIO || errno == EROFS) fail("folder");
    finish("ok no");
  }
  finish("ok yes");
}

/*
 * pool IMAGE FOLDER: mounts the pool. Mounting one image through two devices would destroy it: a device that a launcher
 * which died has left is used again, and gives the same file system.
 */
void op_pool(char **arg) {
  int image = open(arg[0], O_RDWR | O_CLOEXEC | O_NOFOLLOW), loop_fd, loop = -1;
  if (image < 0) fail("pool");
  while (umount2(arg[1], MNT_DETACH | UMOUNT_NOFOLLOW) == 0) continue;
  for (int attempt = 0; loop < 0; attempt++) {
    if (flock(image, LOCK_EX | LOCK_NB) == 0) {
      loop = loop_over(image, &loop_fd);
    } else {
      loop = find_loop(image, &loop_fd);
      if (loop < 0 && attempt == 5000) fail_as(EBUSY, "pool in use");
      if (loop < 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
  }
  int mount = mount_loop("xfs", loop, FS_NO_EXEC);
  if (move_mount(mount, "", AT_FDCWD, arg[1], MOVE_MOUNT_F_EMPTY_PATH) != 0) fail("target");
  finish("ok %d", loop);
}

/* sweep MOUNTS: takes away mounts that a launcher which died has left in this namespace, and their folders. */
void op_sweep(char **arg) {
  DIR *mounts = opendir(arg[0]);
  if (mounts == NULL || fchdir(dirfd(mounts)) != 0) fail("mounts");
  struct dirent *entry;
  while ((entry = readdir(mounts)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    while (umount2(entry->d_name, MNT_DETACH | UMOUNT_NOFOLLOW) == 0) continue;
    if (unlinkat(dirfd(mounts), entry->d_name, AT_REMOVEDIR) != 0 && errno != ENOENT) fail("stale mount");
  }
  closedir(mounts);
}
