#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* linux/fs.h, which has them, cannot be included beside sys/mount.h of glibc 2.36. */
#define STORE_GETFLAGS _IOR('f', 1, long)
#define STORE_SETFLAGS _IOW('f', 2, long)
enum { IMMUTABLE = 0x10 };

/*
 * An immutable file can be neither written, renamed, linked nor removed, and nobody without CAP_LINUX_IMMUTABLE makes a file one:
 * in a workspace that is this program alone. So what has the flag is known to be the place of a mirror, whoever had the
 * workspace before, and what has not is somebody's own.
 */
int is_mirror(int root, const char *name) {
  struct statx info;
  if (strcmp(name, MIRROR_NAME) != 0 || statx(root, name, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &info) != 0) return 0;
  return S_ISREG(info.stx_mode) && (info.stx_attributes & STATX_ATTR_IMMUTABLE) != 0;
}

static void set_immutable(int file, int on) {
  int flags;
  if (ioctl(file, STORE_GETFLAGS, &flags) != 0) fail("flags");
  flags = on ? flags | IMMUTABLE : flags & ~IMMUTABLE;
  if (ioctl(file, STORE_SETFLAGS, &flags) != 0) fail("flags");
}

/* Makes the root of a workspace have a place for a mirror, or none. What is somebody's own stays as it is: the step "mirror" fails. */
void place_mirror(int mount, int wanted) {
  int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) fail("root");
  int there = is_mirror(root, MIRROR_NAME);
  if (wanted && !there) {
    int file = openat(root, MIRROR_NAME, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (file < 0) fail(errno == EEXIST ? "mirror" : "place of the mirror");
    set_immutable(file, 1);
    close(file);
  } else if (!wanted && there) {
    int file = openat(root, MIRROR_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) fail("place of the mirror");
    set_immutable(file, 0);
    close(file);
    if (unlinkat(root, MIRROR_NAME, 0) != 0) fail("place of the mirror");
  }
  close(root);
}
