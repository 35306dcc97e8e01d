/* Changing the network by rtnetlink, also used to build the stage of a positive control. */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
  struct nlmsghdr head;
  char body[256];
};

static void *grow(struct request *q, size_t size) {
  void *at = (char *)q + NLMSG_ALIGN(q->head.nlmsg_len);
  q->head.nlmsg_len = (unsigned)(NLMSG_ALIGN(q->head.nlmsg_len) + size);
  return at;
}

static struct rtattr *attribute(struct request *q, unsigned short type, const void *bytes, size_t size) {
  struct rtattr *a = grow(q, RTA_LENGTH(size));
  *a = (struct rtattr){(unsigned short)RTA_LENGTH(size), type};
  if (size > 0) memcpy(RTA_DATA(a), bytes, size);
  return a;
}

/* Sends one request and reads its acknowledgement. */
static int ask(struct request *q) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return -1;
  struct timeval second = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
  struct {
    struct nlmsghdr head;
    struct nlmsgerr error;
    char rest[512];
  } answer = {0};
  ssize_t n = send(fd, q, q->head.nlmsg_len, 0);
  if (n >= 0) n = recv(fd, &answer, sizeof answer, 0);
  int error = n < 0 ? errno : answer.head.nlmsg_type == NLMSG_ERROR ? -answer.error.error : EPROTO;
  close(fd);
  errno = error;
  return error == 0 ? 0 : -1;
}

static struct request request_of(unsigned short type) {
  struct request q = {.head = {.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type}};
  q.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  return q;
}

int netlink_add_address(const char *address) {
  unsigned char bytes[16];
  int family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
  size_t size = family == AF_INET6 ? 16 : 4;
  if (inet_pton(family, address, bytes) != 1) return -1;
  struct request q = request_of(RTM_NEWADDR);
  struct ifaddrmsg *message = grow(&q, sizeof *message);
  *message = (struct ifaddrmsg){.ifa_family = (unsigned char)family, .ifa_prefixlen = (unsigned char)(8 * size), .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0, .ifa_index = 1};
  attribute(&q, IFA_LOCAL, bytes, size);
  attribute(&q, IFA_ADDRESS, bytes, size);
  return ask(&q);
}

int netlink_add_link(const char *kind) {
  struct request q = request_of(RTM_NEWLINK);
  struct ifinfomsg *message = grow(&q, sizeof *message);
  memset(message, 0, sizeof *message);
  attribute(&q, IFLA_IFNAME, "caisson0", sizeof "caisson0");
  struct rtattr *info = attribute(&q, IFLA_LINKINFO, NULL, 0);
  attribute(&q, IFLA_INFO_KIND, kind, strlen(kind) + 1);
  info->rta_len = (unsigned short)((char *)&q + q.head.nlmsg_len - (char *)info);
  return ask(&q);
}

int own_network(const char *address) {
  if (unshare(CLONE_NEWNET) != 0) return -1;
  struct ifreq lo = {.ifr_flags = IFF_UP};
  memcpy(lo.ifr_name, "lo", sizeof "lo");
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
  if (fd >= 0) close(fd);
  return up ? netlink_add_address(address) : -1;
}
