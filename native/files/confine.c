#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/mount.h cannot be included beside sys/mount.h. */
enum { CLONE_TREE = 1 };

enum { STEP_NAMESPACE = 1, STEP_TREE, STEP_ROOT, STEP_LIMITS, STEP_IDENTITY, STEP_FILTER };

/* The workspace as a mount of its own, without set-uid, devices and programs. What else the mount says (read-only, an id
 * mapping) stays: attributes are only added. Mounts below it are left out. */
static int clone_tree(const char *root) {
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, root, CLONE_TREE | O_CLOEXEC);
  if (tree < 0) return -1;
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
  if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) != 0) return -1;
  return tree;
}

/* The new root covers the workspace's own mount point: in this namespace only, and nothing has to be made on the host. */
static int change_root(const char *root, int tree) {
  if (mount("caisson-files", root, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,nr_inodes=4,mode=755") != 0) return -1;
  if (chdir(root) != 0 || mkdir("workspace", 0755) != 0) return -1;
  if (syscall(SYS_move_mount, tree, "", AT_FDCWD, "workspace", MOVE_MOUNT_F_EMPTY_PATH) != 0) return -1;
  struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
  if (syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &attr, sizeof attr) != 0) return -1;
  if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0) return -1;
  return close(tree) != 0 || chdir("/") != 0 ? -1 : 0;
}

static int limit(int resource, rlim_t most) {
  struct rlimit value = {.rlim_cur = most, .rlim_max = most};
  return setrlimit(resource, &value);
}

static int set_limits(void) {
  return limit(RLIMIT_CORE, 0) || limit(RLIMIT_NOFILE, DESCRIPTORS_MAX) || limit(RLIMIT_AS, 192 << 20) || limit(RLIMIT_STACK, 1 << 20) ||
         limit(RLIMIT_MEMLOCK, 0) || limit(RLIMIT_MSGQUEUE, 0);
}

static int change_identity(uid_t uid, gid_t gid) {
  for (int capability = 0; capability <= 63; capability++)
    if (prctl(PR_CAPBSET_READ, capability) == 1 && prctl(PR_CAPBSET_DROP, capability) != 0) return -1;
  if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) return -1;
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}};
  if (syscall(SYS_capset, &header, none) != 0) return -1;
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ? -1 : 0;
}

int confine(const char *root, uid_t uid, gid_t gid) {
  pid_t parent = getppid();
  if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return STEP_NAMESPACE;
  int tree = clone_tree(root);
  if (tree < 0) return STEP_TREE;
  if (change_root(root, tree) != 0) return STEP_ROOT;
  if (set_limits() != 0) return STEP_LIMITS;
  if (change_identity(uid, gid) != 0) return STEP_IDENTITY;
  /* After the identity, because a change of credentials clears it. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) return STEP_IDENTITY;
  resolve_start();
  return filter_system_calls() != 0 ? STEP_FILTER : 0;
}
