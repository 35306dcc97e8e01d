#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES = 4096, ATTEMPTS = 256 };

static int open_loop(int number, int flags) {
  char path[32];
  snprintf(path, sizeof path, "/dev/loop%d", number);
  return open(path, flags | O_CLOEXEC);
}

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

/*
 * An image is used by whoever holds the flock of an open description of it. A loop device keeps the description that it was
 * made with, so that the lock lasts exactly as long as the device, through every crash of a process.
 */
int lock_image(const char *image, int patience_ms) {
  int fd = open(image, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) fail("image");
  for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited++) {
    if (errno != EWOULDBLOCK || waited >= patience_ms) fail("image in use");
    nap();
  }
  return fd;
}

/* The device goes away on its own when nothing has it open or mounted any more. Returns its number. */
int loop_over(int image_fd, int *loop_fd) {
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) fail("/dev/loop-control");
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) fail("free loop device");
    int fd = open_loop(number, O_RDWR);
    if (fd < 0) {
      nap(); /* its node appears a moment after the device */
      continue;
    }
    struct loop_config config = {.fd = (uint32_t)image_fd, .block_size = BLOCK_BYTES};
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if (ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
      close(control);
      *loop_fd = fd;
      return number;
    }
    int error = errno;
    close(fd);
    if (error != EBUSY) fail_as(error, "loop device");
    if (attempt > 8) nap();
  }
  fail_as(EBUSY, "loop device");
}

/* The device that already holds this file, or -1. While `loop_fd` is open the device stays. */
int find_loop(int image_fd, int *loop_fd) {
  struct stat image;
  if (fstat(image_fd, &image) != 0) fail("image");
  DIR *block = opendir("/sys/block");
  if (block == NULL) fail("/sys/block");
  struct dirent *entry;
  int found = -1;
  while (found < 0 && (entry = readdir(block)) != NULL) {
    int number;
    char rest;
    if (sscanf(entry->d_name, "loop%d%c", &number, &rest) != 1) continue;
    int fd = open_loop(number, O_RDONLY);
    if (fd < 0) continue;
    struct loop_info64 info;
    if (ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == image.st_dev && info.lo_inode == image.st_ino) {
      found = number;
      *loop_fd = fd;
    } else {
      close(fd);
    }
  }
  closedir(block);
  return found;
}
