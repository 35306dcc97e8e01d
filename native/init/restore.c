#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(int from, int to) {
  if (dup2(from, to) < 0) die(70);
}

/* gVisor connects a restored sandbox to new descriptors only in the place of stdin, stdout and stderr (boot/loader.go,
 * startingStdioFD): a runtime that passes nothing else on has the lanes there, the control lane first. One whose stdin
 * is a pipe has nothing that goes both ways: frames of both lanes come in there and are told apart by their types,
 * data goes out on stdout and control on stderr. */
int lanes_take(void) {
  struct stat in;
  if (fcntl(CONTROL_FD, F_GETFD) >= 0 || errno != EBADF) return DATA_FD;
  if (fstat(0, &in) != 0) die(70);
  int is_stream = S_ISFIFO(in.st_mode);
  if (is_stream) put(0, STREAM_FD);
  put(is_stream ? 2 : 0, CONTROL_FD);
  put(1, DATA_FD);
  return is_stream ? STREAM_FD : DATA_FD;
}

static void read_all(int fd, uint8_t *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = recv(fd, bytes, length, 0);
    if (n < 0 && errno == ENOTSOCK) n = read(fd, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) die(0);
    bytes += n;
    length -= (size_t)n;
  }
}

/* Says and reads nothing until RESUME, so that no frame is ever half in the saved memory and half on a lane that is
 * not there any more. The agent's programs go on; their pipes fill. */
int wait_for_resume(int fd) {
  uint8_t header[LANE_HEADER_BYTES], flags[4];
  struct lane_header h;
  read_all(fd, header, sizeof header);
  if (lane_parse_header(header, &h) != 0 || h.type != LANE_RESUME || h.length != sizeof flags) die(71);
  read_all(fd, flags, sizeof flags);
  return (lane_get32(flags) & RESUME_RESTORED) != 0;
}

int quiesce_heard(int fd) {
  static int heard[DATA_FD + 1];
  if (heard[fd]) die(71);
  heard[fd] = 1;
  if (!heard[CONTROL_FD] || !heard[DATA_FD]) return 0;
  send_frame(DATA_FD, LANE_QUIET, 0, 0, NULL, 0);
  send_frame(CONTROL_FD, LANE_QUIET, 0, 0, NULL, 0);
  heard[CONTROL_FD] = heard[DATA_FD] = 0;
  return wait_for_resume(CONTROL_FD);
}
