/* Changing what is mounted where. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* From <sys/mount.h>, which clashes with <linux/mount.h> in the C library of Debian 12. */
int mount(const char *source, const char *at, const char *type, unsigned long flags, const void *data);
int umount2(const char *at, int flags);
enum { LAZY = 2 };

static void mount_tmpfs(struct report *r, const struct probe *self) {
  (void)self;
  own_mounts();
  judge_call(r, "mount(tmpfs on /tmp)", mount("tmpfs", "/tmp", "tmpfs", 0, "size=64k"));
}

static void mount_proc(struct report *r, const struct probe *self) {
  (void)self;
  own_mounts();
  judge_call(r, "mount(proc on /tmp)", mount("proc", "/tmp", "proc", 0, NULL));
}

static void bind_root(struct report *r, const struct probe *self) {
  (void)self;
  own_mounts();
  judge_call(r, "mount(bind / on /tmp)", mount("/", "/tmp", NULL, MS_BIND | MS_REC, NULL));
}

static void remount_root(struct report *r, const struct probe *self) {
  (void)self;
  own_mounts();
  judge_call(r, "mount(remount / writable)", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
}

static void unmount_proc(struct report *r, const struct probe *self) {
  (void)self;
  own_mounts();
  judge_call(r, "umount(/proc)", umount2("/proc", LAZY));
}

static void pivot(struct report *r, const struct probe *self) {
  (void)self;
  char old[64];
  own_mounts();
  mount("tmpfs", "/tmp", "tmpfs", 0, "size=64k");
  snprintf(old, sizeof old, "/tmp/caisson-probe-old-%d", (int)getpid());
  mkdir(old, 0700);
  judge_call(r, "pivot_root(/tmp)", syscall(SYS_pivot_root, "/tmp", old));
  rmdir(old);
}

static void change_root(struct report *r, const struct probe *self) {
  (void)self;
  judge_call(r, "chroot(/tmp)", chroot("/tmp"));
}

static void new_mount_api(struct report *r, const struct probe *self) {
  (void)self;
  judge_call(r, "fsopen(tmpfs)", syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC));
}

static void clone_tree(struct report *r, const struct probe *self) {
  (void)self;
  own_mounts();
  judge_call(r, "open_tree(/, clone)", syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE | AT_RECURSIVE));
}

static void move_a_mount(struct report *r, const struct probe *self) {
  (void)self;
  own_mounts();
  long tree = syscall(SYS_open_tree, AT_FDCWD, "/proc", OPEN_TREE_CLONE);
  if (tree < 0) tree = open("/proc", O_PATH | O_CLOEXEC);
  judge_call(r, "move_mount(/proc to /tmp)", syscall(SYS_move_mount, (int)tree, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH));
}

/* A mounted hierarchy gives release_agent (v1) or the processes of other groups (v2). */
static void mount_cgroup(struct report *r, const struct probe *self) {
  (void)self;
  own_mounts();
  if (mount("none", "/tmp", "cgroup2", 0, NULL) == 0) return through(r, "mount(cgroup2) worked");
  int version_2 = errno;
  if (mount("none", "/tmp", "cgroup", 0, "memory") == 0) return through(r, "mount(cgroup memory) worked");
  held(r, "mount(cgroup2): %s, mount(cgroup memory): %s", error_name(version_2), error_name(errno));
}

const struct probe mount_probes[] = {
    {.name = "mount-tmpfs", .attack = mount_tmpfs},
    {.name = "mount-proc", .attack = mount_proc},
    {.name = "mount-bind", .attack = bind_root},
    {.name = "mount-remount", .attack = remount_root},
    {.name = "mount-cgroup", .attack = mount_cgroup},
    {.name = "mount-move", .attack = move_a_mount},
    {.name = "umount", .attack = unmount_proc},
    {.name = "pivot-root", .attack = pivot},
    {.name = "chroot", .attack = change_root},
    {.name = "fsopen", .attack = new_mount_api},
    {.name = "open-tree", .attack = clone_tree},
    {0},
};
