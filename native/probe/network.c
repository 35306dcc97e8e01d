/* Reaching the host and the world.
 *
 * Nothing here leaves the machine outside a sandbox: an attack on a far address is tried only with inside=yes, or on
 * a stage (stage=yes), a network namespace of its own in which that address is on loopback. */
#include "probe.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { WAIT_MS = 1000 };

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

/* `1.2.3.4:80` or `[::1]:80`. Returns the size of the address, 0 when it is none. */
static socklen_t parse_address(const char *text, union address *out) {
  char host[64];
  const char *colon = strrchr(text, ':');
  if (colon == NULL || (size_t)(colon - text) >= sizeof host) return 0;
  int bracket = text[0] == '[';
  snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2 * bracket, text + bracket);
  unsigned short port = htons((unsigned short)strtoul(colon + 1, NULL, 10));
  memset(out, 0, sizeof *out);
  if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = port;
    return sizeof out->v6;
  }
  if (inet_pton(AF_INET, host, &out->v4.sin_addr) != 1) return 0;
  out->v4.sin_family = AF_INET;
  out->v4.sin_port = port;
  return sizeof out->v4;
}

/* Waits for bytes that hold token=TEXT. */
static int answers_with_token(int fd) {
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  char text[256] = {0};
  if (poll(&wait, 1, WAIT_MS) <= 0) errno = ETIMEDOUT;
  else if (recv(fd, text, sizeof text - 1, 0) >= 0) errno = EBADMSG;
  return strstr(text, parameter("token", "no token")) != NULL;
}

static int reach(const char *text, int type) {
  union address address;
  socklen_t size = parse_address(text, &address);
  if (size == 0) return errno = EINVAL, 0;
  int fd = socket(address.any.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return 0;
  int worked = 0;
  if (connect(fd, &address.any, size) == 0 || errno == EINPROGRESS) {
    if (type == SOCK_STREAM || send(fd, "?", 1, 0) == 1) worked = answers_with_token(fd);
  }
  int error = errno;
  close(fd);
  errno = error;
  return worked;
}

/* Every address on which the host listens, from the list in the parameter that `text` names. */
static void reach_host(struct report *r, const struct probe *self) {
  char list[1024];
  const char *addresses = parameter(self->text, NULL);
  if (addresses == NULL) return held(r, "nothing to reach: no %s=", self->text);
  snprintf(list, sizeof list, "%s", addresses);
  held(r, "%s", "");
  for (char *item = strtok(list, ","); item != NULL; item = strtok(NULL, ",")) {
    if (reach(item, (int)self->number)) return through(r, "the host answered at %s", item);
    note(r, "%s: %s", item, error_name(errno));
  }
}

static int may_try_far(struct report *r, const char *host) {
  if (strcmp(parameter("inside", "no"), "yes") == 0) return 1;
  if (strcmp(parameter("stage", "no"), "yes") != 0) unable(r, "not tried outside a sandbox");
  else if (own_network(host) != 0) held(r, "no stage to try it on: %s", error_name(errno));
  else return 1;
  return 0;
}

/* A packet is on its way as soon as the kernel takes it: a silent answer is no wall. */
static void reach_far(struct report *r, const struct probe *self) {
  union address address;
  char host[64];
  socklen_t size = parse_address(self->text, &address);
  int v6 = address.any.sa_family == AF_INET6;
  inet_ntop(address.any.sa_family, v6 ? (void *)&address.v6.sin6_addr : (void *)&address.v4.sin_addr, host, sizeof host);
  if (!may_try_far(r, host)) return;
  int type = (int)self->number;
  int fd = socket(address.any.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return held(r, "socket: %s", error_name(errno));
  if (type == SOCK_DGRAM) return judge_call(r, self->text, sendto(fd, "?", 1, 0, &address.any, size));
  int result = connect(fd, &address.any, size);
  if (result == 0 || errno == EINPROGRESS || errno == ECONNREFUSED) through(r, "connect(%s): packets were sent", self->text);
  else held(r, "connect(%s): %s", self->text, error_name(errno));
}

/* Names in the abstract namespace belong to a network namespace, names in a directory to the file system. */
static void reach_unix(struct report *r, const struct probe *self) {
  const char *name = parameter(self->text, NULL);
  int hidden = (int)self->number;
  if (name == NULL) return held(r, "nothing to reach: no %s=", self->text);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path + hidden, sizeof address.sun_path - (size_t)hidden, "%s", name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return held(r, "socket: %s", error_name(errno));
  size_t size = offsetof(struct sockaddr_un, sun_path) + (size_t)hidden + strlen(address.sun_path + hidden);
  judge_call(r, hidden ? "connect(abstract name)" : "connect(path)", connect(fd, (struct sockaddr *)&address, (socklen_t)size));
}

/* A sandbox may have what it was refused there, in one file. All else is of a Caisson; so is a folder that cannot be listed. */
static int shows_caisson(void) {
  DIR *folder = opendir("/run/caisson");
  if (folder == NULL) return errno != ENOENT;
  int found = 0;
  for (struct dirent *entry; !found && (entry = readdir(folder)) != NULL;) {
    const char *name = entry->d_name;
    found = strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "denials.json") != 0 && strcmp(name, "denials.json.next") != 0;
  }
  closedir(folder);
  return found;
}

/* Where the daemons live that would start anything for anybody who may connect. */
static void control_sockets(struct report *r, const struct probe *self) {
  (void)self;
  static const char *const paths[] = {
      "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/podman/podman.sock",
      "/run/systemd/private", "/run/dbus/system_bus_socket"};
  int tried = 0;
  const char *extra = parameter("unix", NULL);
  for (size_t i = 0; i <= sizeof paths / sizeof *paths; i++) {
    const char *path = i < sizeof paths / sizeof *paths ? paths[i] : extra;
    if (path == NULL) continue;
    if (access(path, F_OK) == 0) return through(r, "%s is there", path);
    tried++;
  }
  if (shows_caisson()) return through(r, "/run/caisson holds more than what was refused");
  held(r, "none of %d paths is there", tried + 1);
}

const struct probe network_probes[] = {
    {.name = "tcp-host", .attack = reach_host, .number = SOCK_STREAM, .text = "tcp"},
    {.name = "tcp6-host", .attack = reach_host, .number = SOCK_STREAM, .text = "tcp6"},
    {.name = "udp-host", .attack = reach_host, .number = SOCK_DGRAM, .text = "udp"},
    {.name = "metadata", .attack = reach_far, .number = SOCK_STREAM, .text = "169.254.169.254:80"},
    {.name = "dns", .attack = reach_far, .number = SOCK_DGRAM, .text = "1.1.1.1:53"},
    {.name = "dns6", .attack = reach_far, .number = SOCK_DGRAM, .text = "[2606:4700:4700::1111]:53"},
    {.name = "abstract-socket", .attack = reach_unix, .number = 1, .text = "abstract"},
    {.name = "path-socket", .attack = reach_unix, .number = 0, .text = "unix"},
    {.name = "control-sockets", .attack = control_sockets},
    {0},
};
