#include "init.h"

#include <linux/landlock.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What only a system call tells of the host; printed for the launcher, which runs this program outside. */
int print_host_facts(void) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  printf("landlock=%ld\n", abi > 0 ? abi : 0);
  printf("seccomp=%d\n", prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 && access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0);
  return 0;
}
