/* Something to attack: listeners of the host, and a process with memory, descriptors and namespaces of its own. */
#include "probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { STDIN, TCP, TCP6, UDP, PATH, ABSTRACT, WATCHED };

static int listening(int fd, const void *address, size_t size, int type) {
  if (fd < 0) return -1;
  if (bind(fd, address, (socklen_t)size) == 0 && (type == SOCK_DGRAM || listen(fd, 16) == 0)) return fd;
  close(fd);
  return -1;
}

/* Any port of every address of one family. */
static int listen_internet(int family, int type) {
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  int fd = socket(family, type | SOCK_CLOEXEC, 0), yes = 1;
  if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
  return listening(fd, family == AF_INET6 ? (void *)&v6 : (void *)&v4, family == AF_INET6 ? sizeof v6 : sizeof v4, type);
}

static int listen_unix(const char *name, size_t hidden) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (name == NULL || hidden + strlen(name) >= sizeof address.sun_path) return -1;
  memcpy(address.sun_path + hidden, name, strlen(name));
  size_t size = offsetof(struct sockaddr_un, sun_path) + hidden + strlen(name);
  return listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), &address, size, SOCK_STREAM);
}

static unsigned port_of(int fd) {
  struct sockaddr_in6 address = {0}; /* the port is at the same place in both families */
  socklen_t size = sizeof address;
  return fd >= 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0 ? ntohs(address.sin6_port) : 0;
}

static void answer(int fd, int datagram, const char *token) {
  struct sockaddr_in peer;
  socklen_t size = sizeof peer;
  char byte;
  if (datagram) {
    if (recvfrom(fd, &byte, 1, 0, (struct sockaddr *)&peer, &size) >= 0) sendto(fd, token, strlen(token), 0, (struct sockaddr *)&peer, size);
    return;
  }
  int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
  if (connection < 0) return;
  send(connection, token, strlen(token), MSG_NOSIGNAL);
  close(connection);
}

int victim(void) {
  static const int namespaces[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};
  const char *token = parameter("token", "");
  struct pollfd watched[WATCHED] = {
      [STDIN] = {.fd = STDIN_FILENO},
      [TCP] = {.fd = listen_internet(AF_INET, SOCK_STREAM)},
      [TCP6] = {.fd = listen_internet(AF_INET6, SOCK_STREAM)},
      [UDP] = {.fd = listen_internet(AF_INET, SOCK_DGRAM)},
      [PATH] = {.fd = listen_unix(parameter("unix", NULL), 0)},
      [ABSTRACT] = {.fd = listen_unix(parameter("abstract", NULL), 1)},
  };
  /* Sockets stay in the namespace in which they were made. */
  for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++) unshare(namespaces[i]);
  printf("{\"tcp\":%u,\"tcp6\":%u,\"udp\":%u}\n", port_of(watched[TCP].fd), port_of(watched[TCP6].fd), port_of(watched[UDP].fd));
  fflush(stdout);
  for (int i = 0; i < WATCHED; i++) watched[i].events = POLLIN;
  while (poll(watched, WATCHED, -1) >= 0) {
    char byte;
    if (watched[STDIN].revents != 0 && read(STDIN_FILENO, &byte, 1) <= 0) return 0;
    for (int i = TCP; i < WATCHED; i++)
      if (watched[i].revents != 0) answer(watched[i].fd, i == UDP, token);
  }
  return 70;
}
