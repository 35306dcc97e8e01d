#include "init.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static int set_size(int fd, struct lane_size size) {
  struct winsize wanted = {.ws_row = size.rows, .ws_col = size.cols};
  return ioctl(fd, TIOCSWINSZ, &wanted);
}

/* Both ends in the caller's hands, or -1 with errno; what was opened is the caller's to close then too. */
int tty_open(int *master, int *slave, struct lane_size size) {
  char path[32];
  int number = 0, unlocked = 0;
  struct termios modes;
  *master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (*master < 0 || ioctl(*master, TIOCSPTLCK, &unlocked) != 0 || ioctl(*master, TIOCGPTN, &number) != 0) return -1;
  snprintf(path, sizeof path, "/dev/pts/%d", number);
  *slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0 || tcgetattr(*slave, &modes) != 0) return -1;
  modes.c_iflag |= IUTF8; /* so that erasing takes back a character and not a byte of it */
  if (tcsetattr(*slave, TCSANOW, &modes) != 0) return -1;
  return set_size(*master, size);
}

pid_t tty_foreground(int master) {
  pid_t group = 0;
  return ioctl(master, TIOCGPGRP, &group) == 0 ? group : -1;
}

void tty_resize(uint32_t id, const uint8_t *payload, size_t length) {
  struct lane_size size;
  if (lane_parse_size(payload, length, &size) != 0) die(71);
  struct exec *e = exec_find(id);
  if (e == NULL || e->kind != KIND_TTY || e->out[0] < 0) return;
  set_size(e->out[0], size);
}

uint8_t tty_end_of_file(int master) {
  struct termios modes;
  if (tcgetattr(master, &modes) != 0 || (modes.c_lflag & ICANON) == 0) return 0;
  return modes.c_cc[VEOF];
}
