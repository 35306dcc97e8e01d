#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights newer than the kernel headers of Debian 12 (Landlock ABI 3, 5 and 6). */
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

struct ruleset {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};

static const uint64_t READ = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
/* No right to make device nodes anywhere. */
static const uint64_t WRITE = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                              LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                              LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
                              LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM;
static const uint64_t MAKE_DEVICE = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;

static int allow(int ruleset, const char *path, uint64_t access) {
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? 0 : -1;
  struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
  long result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  close(fd);
  return result == 0 ? 0 : -1;
}

int landlock_confine(void) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) return 0;
  uint64_t extra = (abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0);
  uint64_t device = abi >= 5 ? FS_IOCTL_DEV : 0;
  struct ruleset attr = {.handled_access_fs = READ | WRITE | MAKE_DEVICE | extra | device,
                         .scoped = abi >= 6 ? SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL : 0};
  size_t size = abi >= 6 ? sizeof attr : abi >= 4 ? 16 : 8;
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
  if (ruleset < 0) return -1;
  uint64_t truncate = abi >= 3 ? FS_TRUNCATE : 0;
  int failed = allow(ruleset, "/", READ) || allow(ruleset, "/workspace", READ | WRITE | extra) ||
               allow(ruleset, "/tmp", READ | WRITE | extra) || allow(ruleset, "/dev/shm", READ | WRITE | extra) ||
               allow(ruleset, "/dev", READ | LANDLOCK_ACCESS_FS_WRITE_FILE | truncate | device) ||
               allow(ruleset, "/proc", READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
  if (!failed) failed = syscall(SYS_landlock_restrict_self, ruleset, 0) != 0;
  close(ruleset);
  return failed ? -1 : (int)abi;
}
