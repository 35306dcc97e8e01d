/* Kinds of socket that a sandbox has no use for, and changes to its own network. */
#include "probe.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* From /proc: needs no netlink. */
static void interfaces(struct report *r, const struct probe *self) {
  (void)self;
  char text[4096], *rest = text;
  if (read_start("/proc/net/dev", text, sizeof text) <= 0) return unable(r, "/proc/net/dev: %s", error_name(errno));
  held(r, "%s", "");
  for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
    char name[64];
    if (strchr(line, ':') == NULL || sscanf(line, " %63[^:]:", name) != 1) continue;
    if (strcmp(name, "lo") != 0) r->outcome = THROUGH;
    note(r, "%s", name);
  }
}

static void internet_raw(struct report *r, const struct probe *self) {
  (void)self;
  judge_call(r, "socket(raw ICMP)", socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
}

static void packet(struct report *r, const struct probe *self) {
  (void)self;
  judge_call(r, "socket(packet)", socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
}

/* A socket of the family is the way through: in most kernels vsock is not part of a network namespace. */
static void one_family(struct report *r, const struct probe *self) {
  judge_call(r, self->text, socket((int)self->number, (self->number == AF_VSOCK ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0));
}

static int is_expected_family(int family) { return family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK; }

static void other_families(struct report *r, const struct probe *self) {
  (void)self;
  static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
  held(r, "%s", "");
  for (int family = 1; family < 48; family++) {
    for (size_t t = 0; !is_expected_family(family) && t < sizeof types / sizeof *types; t++) {
      int fd = socket(family, types[t] | SOCK_CLOEXEC, 0);
      if (fd < 0) continue;
      close(fd);
      r->outcome = THROUGH;
      note(r, "family %d type %d", family, types[t]);
      break;
    }
  }
  if (r->outcome == HELD) held(r, "no socket of any other family");
}

static void add_address(struct report *r, const struct probe *self) {
  (void)self;
  unshare(CLONE_NEWNET);
  judge_call(r, "netlink(new address)", netlink_add_address("127.77.0.1"));
}

static void add_link(struct report *r, const struct probe *self) {
  (void)self;
  unshare(CLONE_NEWNET);
  static const char *const kinds[] = {"dummy", "veth", "bridge", "vlan"};
  held(r, "%s", "");
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (netlink_add_link(kinds[i]) == 0) return through(r, "a %s link was made", kinds[i]);
    note(r, "%s: %s", kinds[i], error_name(errno));
  }
}

const struct probe socket_probes[] = {
    {.name = "interfaces", .attack = interfaces},
    {.name = "raw-socket", .attack = internet_raw},
    {.name = "packet-socket", .attack = packet},
    {.name = "vsock", .attack = one_family, .number = AF_VSOCK, .text = "socket(vsock)"},
    {.name = "kernel-crypto", .attack = one_family, .number = AF_ALG, .text = "socket(alg)"},
    {.name = "other-families", .attack = other_families},
    {.name = "netlink-address", .attack = add_address},
    {.name = "netlink-link", .attack = add_link},
    {0},
};
