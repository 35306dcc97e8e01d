#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nobody on a host is this uid: what reads or writes a hostile archive shares it with nobody. */
#define ARCHIVE_ID 4294967293U

static const char *const READABLE[] = {"/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"};
enum { READ_FILE = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE, READ = READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR };
/* Everything that Landlock knows in its second version; devices cannot be made without capabilities anyway. */
enum { EVERYTHING = (1 << 14) - 1 };

static void allow(int ruleset, int fd, uint64_t access) {
  struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) fail("landlock rule");
}

/* tar sees the programs of the host, reads or writes one workspace, and has no network, no capability but `capability` and no uid. */
static void confine(int root, uint64_t access, int capability) {
  struct landlock_ruleset_attr handled = {.handled_access_fs = EVERYTHING};
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
  if (ruleset < 0) fail("landlock");
  allow(ruleset, root, access);
  for (size_t i = 0; i < sizeof READABLE / sizeof *READABLE; i++) {
    int fd = open(READABLE[i], O_PATH | O_CLOEXEC);
    if (fd < 0) continue;
    allow(ruleset, fd, i == 4 ? READ_FILE : READ);
    close(fd);
  }
  if (unshare(CLONE_NEWNET | CLONE_NEWIPC) != 0) fail("namespaces");
  struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  if (setgroups(0, NULL) != 0 || setresgid(ARCHIVE_ID, ARCHIVE_ID, ARCHIVE_ID) != 0) fail("gid");
  if (capability >= 0) prctl(PR_SET_KEEPCAPS, 1);
  if (setresuid(ARCHIVE_ID, ARCHIVE_ID, ARCHIVE_ID) != 0) fail("uid");
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {0};
  if (capability >= 0) data[0].effective = data[0].permitted = data[0].inheritable = 1U << capability;
  if (syscall(SYS_capset, &header, data) != 0) fail("capabilities");
  if (capability >= 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) fail("capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("no_new_privs");
  if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) fail("landlock");
  close(ruleset);
}

/* The place of a mirror of records is not of who works there. */
#define WITHOUT_MIRROR "--exclude=./" MIRROR_NAME

static char *const ENVIRONMENT[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", NULL};

/* Runs tar in the root of the image and waits; nothing of it outlives this process. */
static void run_tar(const char *image, int flags, uint64_t access, int capability, char *argv[]) {
  int mount = mount_image(image, flags | FS_NO_EXEC, NULL);
  map_owner(mount, ARCHIVE_ID);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (unshare(CLONE_NEWPID) != 0) fail("namespaces"); /* tar is process 1: the same number in the same archive, and alone */
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || fchdir(root) != 0) fail("root");
    for (char **each = argv; *each != NULL; each++)
      if (strcmp(*each, WITHOUT_MIRROR) == 0 && !is_mirror(root, MIRROR_NAME)) *each = "--numeric-owner"; /* which is said anyway */
    confine(root, access, capability);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of uid clears it */
    execve("/usr/bin/tar", argv, ENVIRONMENT);
    execve("/bin/tar", argv, ENVIRONMENT);
    fail("tar");
  }
  int status;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) fail("wait");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_as(EINVAL, "archive");
  if (!(flags & FS_READ_ONLY)) {
    int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || syncfs(root) != 0) fail("sync");
    close(root);
  }
  close(mount);
  if (flags & FS_READ_ONLY) return;
  wait_until_free(image, 10000);
  int file = open(image, O_RDONLY | O_CLOEXEC);
  if (file < 0 || fsync(file) != 0) fail("fsync");
}

/* pack IMAGE: the image as a tar archive on stdout, the same bytes for the same content. */
void op_pack(char **arg) {
  char *argv[] = {
      "tar", "--create", "--file=-", "--format=pax", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", "--sort=name",
      "--numeric-owner", "--owner=1000", "--group=1000", "--sparse", "--warning=no-file-ignored", WITHOUT_MIRROR, ".", NULL,
  };
  run_tar(arg[0], FS_READ_ONLY, READ, CAP_DAC_READ_SEARCH, argv);
}

/* unpack IMAGE: the archive on stdin into the image, whose size and inodes are all that it can take. */
void op_unpack(char **arg) {
  char *argv[] = {
      "tar", "--extract", "--file=-", "--no-same-owner", "--preserve-permissions", "--no-overwrite-dir", "--delay-directory-restore", "--warning=none", NULL,
  };
  run_tar(arg[0], 0, EVERYTHING, -1, argv);
}
