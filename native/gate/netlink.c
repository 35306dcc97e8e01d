#include "gate.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_BYTES 1024

struct request {
  union {
    struct nlmsghdr head;
    char bytes[REQUEST_BYTES];
  };
};

static void reserve(struct request *request, uint32_t size) {
  if (NLMSG_ALIGN(request->head.nlmsg_len) + size > REQUEST_BYTES) {
    errno = EMSGSIZE;
    fail("request");
  }
}

struct request *request_new(uint16_t type, uint16_t flags, const void *header, uint32_t size) {
  struct request *request = calloc(1, sizeof *request);
  if (request == NULL) fail("memory");
  request->head.nlmsg_len = NLMSG_LENGTH(size);
  request->head.nlmsg_type = type;
  request->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
  memcpy(NLMSG_DATA(&request->head), header, size);
  return request;
}

void request_add(struct request *request, uint16_t type, const void *bytes, uint32_t size) {
  reserve(request, RTA_SPACE(size));
  struct rtattr *attribute = (struct rtattr *)(request->bytes + NLMSG_ALIGN(request->head.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = (unsigned short)RTA_LENGTH(size);
  if (size > 0) memcpy(RTA_DATA(attribute), bytes, size);
  request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_SPACE(size);
}

void request_add_u32(struct request *request, uint16_t type, uint32_t value) { request_add(request, type, &value, sizeof value); }

uint32_t request_begin(struct request *request, uint16_t type) {
  uint32_t at = NLMSG_ALIGN(request->head.nlmsg_len);
  request_add(request, type, NULL, 0);
  return at;
}

void request_header(struct request *request, const void *bytes, uint32_t size) {
  reserve(request, NLMSG_ALIGN(size));
  memcpy(request->bytes + NLMSG_ALIGN(request->head.nlmsg_len), bytes, size);
  request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + NLMSG_ALIGN(size);
}

void request_end(struct request *request, uint32_t at) {
  ((struct rtattr *)(request->bytes + at))->rta_len = (unsigned short)(request->head.nlmsg_len - at);
}

int open_route_socket(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) fail("netlink");
  return fd;
}

int request_try(struct request *request, int fd, const char *step) {
  static uint32_t sequence;
  request->head.nlmsg_seq = ++sequence;
  if (send(fd, request, request->head.nlmsg_len, 0) < 0) fail(step);
  char reply[4096];
  for (;;) {
    ssize_t length = recv(fd, reply, sizeof reply, 0);
    if (length < 0) fail(step);
    const struct nlmsghdr *head = (const struct nlmsghdr *)reply;
    if (length < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) || head->nlmsg_type != NLMSG_ERROR || head->nlmsg_seq != request->head.nlmsg_seq) continue;
    int error = ((const struct nlmsgerr *)NLMSG_DATA(head))->error;
    free(request);
    return -error;
  }
}

void request_send(struct request *request, int fd, const char *step) {
  errno = request_try(request, fd, step);
  if (errno != 0) fail(step);
}
