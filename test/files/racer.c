/* The agent at its worst: changes its own workspace as fast as it can, so that every path that is being resolved may turn
 * into a link that leads out. Usage: racer SEED OUTSIDE, in the workspace. Ends with its parent. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t state;

static uint32_t below(uint32_t bound) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 0x2545f4914f6cdd1dULL) >> 33) % bound;
}

static void some_path(char out[64]) {
  static const char *const names[] = {"a", "b", "c", "d", "e"};
  if (below(2)) snprintf(out, 64, "%s", names[below(5)]);
  else if (below(2)) snprintf(out, 64, "%s/%s", names[below(5)], names[below(5)]);
  else snprintf(out, 64, "%s/%s/%s", names[below(5)], names[below(5)], names[below(5)]);
}

int main(int argc, char **argv) {
  if (argc != 3 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return 2;
  state = strtoull(argv[1], NULL, 10) | 1;
  const char *outside = argv[2];
  const char *targets[] = {"..", "../outside", "/", "/workspace", "/workspace/..", "/proc/self/root", "/proc/self/cwd/..", "/etc", "/etc/passwd",
                           "../../../../../../../..", "a", "b/c", ".", "", "/dev/zero", "/proc/self/fd/0"};
  targets[13] = outside;
  for (uint64_t round = 0; getppid() != 1; round++) {
    char one[64], two[64], temporary[64];
    some_path(one);
    some_path(two);
    snprintf(temporary, sizeof temporary, "t%u", below(4));
    switch (below(12)) {
      case 0: case 1: case 2: /* a link takes the place of whatever is there */
        unlink(temporary);
        if (symlink(targets[below(16)], temporary) == 0 && renameat2(AT_FDCWD, temporary, AT_FDCWD, one, RENAME_EXCHANGE) != 0) rename(temporary, one);
        break;
      case 3: case 4: renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE); break;
      case 5: rename(one, two); break;
      case 6: case 7: mkdir(one, 0777); break;
      case 8: unlink(one); break;
      case 9: {
        int fd = open(one, O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK, 0666);
        if (fd >= 0) {
          if (write(fd, "inside", 6) < 0 || ftruncate(fd, below(64)) != 0) {}
          close(fd);
        }
        break;
      }
      case 10: mkfifo(one, 0666); break;
      default:
        if (link(one, two) != 0) rmdir(one);
    }
    /* The others need the processor too: a swap that nobody meets is no attack. */
    if (round % 16 == 0) usleep(100);
  }
  return 0;
}
