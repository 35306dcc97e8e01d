#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * clone MOUNT|- SOURCE TARGET durable|soon: TARGET shares every block of SOURCE as it is at one moment, and is durable now, or
 * soon as all that is written.
 *
 * Of a mounted image (MOUNT) everything that was written before is in the clone: the file system writes back first. What is written
 * meanwhile is as after a loss of power, which its journal is made for; the kernel lets no write of the device into the
 * middle of a clone. A freeze would hold back writers at the price of 40 ms (three grace periods of RCU), and of a
 * workspace that stays frozen when this process is killed.
 */
void op_clone(char **arg) {
  if (strcmp(arg[0], "-") != 0) {
    int root = open(arg[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || syncfs(root) != 0) fail("syncfs");
    close(root);
  }
  int source = open(arg[1], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (source < 0) fail("image");
  int fd = open(arg[2], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) fail("target");
  if (ioctl(fd, STORE_FICLONE, source) == 0 && (strcmp(arg[3], "soon") == 0 || fsync(fd) == 0)) return;
  int error = errno;
  unlink(arg[2]);
  fail_as(error, "clone");
}

/* seal IMAGE: a fresh file system becomes a template: an empty folder of the owner's, cleanly unmounted. */
void op_seal(char **arg) {
  int mount = mount_image(arg[0], 0, NULL);
  int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) fail("root");
  if (unlinkat(root, "lost+found", AT_REMOVEDIR) != 0 && errno != ENOENT) fail("lost+found");
  if (fchown(root, OWNER_ID, OWNER_ID) != 0 || fchmod(root, 0700) != 0) fail("owner");
  close(root);
  close(mount);
  wait_until_free(arg[0], 10000);
  int image = open(arg[0], O_RDONLY | O_CLOEXEC);
  if (image < 0 || fsync(image) != 0) fail("fsync");
}

/*
 * attach IMAGE TARGET UID ro|rw mirror|plain: mounts the image at TARGET for the host uid, with a place for a mirror of records in it
 * or without. Replies with the number of the device.
 */
void op_attach(char **arg) {
  int loop;
  long uid = number(arg[2], "uid");
  int mount = mount_image(arg[0], strcmp(arg[3], "ro") == 0 ? FS_READ_ONLY : 0, &loop);
  if (strcmp(arg[3], "ro") != 0) place_mirror(mount, strcmp(arg[4], "mirror") == 0);
  map_owner(mount, (uid_t)uid);
  if (move_mount(mount, "", AT_FDCWD, arg[1], MOVE_MOUNT_F_EMPTY_PATH) != 0) fail("target");
  finish("ok %d", loop);
}

/* detach IMAGE TARGET PATIENCE_MS: takes the mount away and waits until nothing else holds the file system. */
void op_detach(char **arg) {
  long patience = number(arg[2], "patience");
  if (umount2(arg[1], MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT) fail("umount");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  wait_until_free(arg[0], (int)patience);
}
