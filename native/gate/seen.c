#include "gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes of each refused packet that are looked at: the largest IPv4 header, or IPv6 with a few extensions, and ports. */
#define COPY_BYTES 96
#define LOG_BUFFER (1 << 20)

struct config {
  struct nlmsghdr head;
  struct nfgenmsg body;
  struct nlattr attribute;
  union {
    struct nfulnl_msg_config_cmd command;
    struct nfulnl_msg_config_mode mode;
    uint32_t packets;
  };
};

static void configure(int fd, uint16_t type, const void *value, uint16_t size) {
  struct config message = {
      .head = {.nlmsg_len = (uint32_t)(offsetof(struct config, command) + NLMSG_ALIGN(size)), .nlmsg_type = (NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_CONFIG, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
      .body = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(SEEN_GROUP)},
      .attribute = {.nla_len = (uint16_t)(sizeof(struct nlattr) + size), .nla_type = type},
  };
  memcpy(&message.command, value, size);
  if (send(fd, &message, message.head.nlmsg_len, 0) < 0) fail("log");
  char reply[1024];
  ssize_t length = recv(fd, reply, sizeof reply, 0);
  const struct nlmsghdr *head = (const struct nlmsghdr *)reply;
  if (length < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) || head->nlmsg_type != NLMSG_ERROR) {
    errno = EPROTO;
    fail("log");
  }
  errno = -((const struct nlmsgerr *)NLMSG_DATA(head))->error;
  if (errno != 0) fail("log");
}

/* Refused packets of this network namespace: one reader has the group. */
int open_seen(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
  if (fd < 0) fail("log");
  int bytes = LOG_BUFFER;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  configure(fd, NFULA_CFG_CMD, &(struct nfulnl_msg_config_cmd){.command = NFULNL_CFG_CMD_BIND}, sizeof(struct nfulnl_msg_config_cmd));
  configure(fd, NFULA_CFG_MODE, &(struct nfulnl_msg_config_mode){.copy_range = htonl(COPY_BYTES), .copy_mode = NFULNL_COPY_PACKET}, sizeof(struct nfulnl_msg_config_mode));
  /* Each at once, and not with others after a second: its sandbox may be closed by then. The rules bound how many there are. */
  configure(fd, NFULA_CFG_QTHRESH, &(uint32_t){htonl(1)}, sizeof(uint32_t));
  return fd;
}

/* Each datagram is written after its length, 4 bytes, little-endian. What came faster than it was read is lost: the rules bound
 * how much that can be (profiles/egress/gate.nft), and it was refused all the same. */
void relay_seen(int log, int out) {
  static char datagram[4 + (1 << 16)];
  for (;;) {
    ssize_t length = recv(log, datagram + 4, sizeof datagram - 4, 0);
    if (length < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
    if (length <= 0) _exit(0);
    for (int byte = 0; byte < 4; byte++) datagram[byte] = (char)(length >> (8 * byte));
    for (ssize_t done = 0, all = length + 4; done < all;) {
      ssize_t written = write(out, datagram + done, (size_t)(all - done));
      if (written < 0 && errno != EINTR) _exit(0);
      if (written > 0) done += written;
    }
  }
}
