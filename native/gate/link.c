#include "gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Both ends have fixed hardware addresses: a link has two ends, and neither end is asked who it is. */
static const unsigned char GATE_END[6] = {0x02, 0xca, 0x15, 0x50, 0x00, 0x01};
static const unsigned char SANDBOX_END[6] = {0x02, 0xca, 0x15, 0x50, 0x00, 0x02};

/* lo is 1. */
#define NEAR_INDEX 2

struct place {
  struct in_addr v4;
  struct in6_addr v6;
};

/* fd00:ca15:50:: and the bits of the IPv4 address. */
static struct place place_of(const char *address) {
  struct place place = {0};
  if (inet_pton(AF_INET, address, &place.v4) != 1) {
    errno = EINVAL;
    fail("address");
  }
  inet_pton(AF_INET6, "fd00:ca15:50::", &place.v6);
  memcpy(place.v6.s6_addr + 12, &place.v4, 4);
  return place;
}

/*
 * eth0 here, and its other end, which carries `name`, in the namespace of the gate. That end's index is made of the address:
 * whose packet it was is known by where it came in, whatever it says of itself.
 */
static void make_pair(int route, const char *name, struct place place, int gate) {
  int slot = (int)(ntohl(place.v4.s_addr) & 0xffff);
  struct ifinfomsg near = {.ifi_family = AF_UNSPEC, .ifi_index = NEAR_INDEX}, far = {.ifi_family = AF_UNSPEC, .ifi_index = FIRST_LINK_INDEX + slot};
  struct request *request = request_new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &near, sizeof near);
  request_add(request, IFLA_IFNAME, "eth0", sizeof "eth0");
  request_add(request, IFLA_ADDRESS, SANDBOX_END, sizeof SANDBOX_END);
  uint32_t info = request_begin(request, IFLA_LINKINFO);
  request_add(request, IFLA_INFO_KIND, "veth", sizeof "veth");
  uint32_t data = request_begin(request, IFLA_INFO_DATA);
  uint32_t peer = request_begin(request, VETH_INFO_PEER);
  request_header(request, &far, sizeof far);
  request_add(request, IFLA_IFNAME, name, (uint32_t)strlen(name) + 1);
  request_add(request, IFLA_ADDRESS, GATE_END, sizeof GATE_END);
  request_add_u32(request, IFLA_NET_NS_FD, (uint32_t)gate);
  request_end(request, peer);
  request_end(request, data);
  request_end(request, info);
  request_send(request, route, "link");
}

static void bring_up(int route, int index) {
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  request_send(request_new(RTM_NEWLINK, 0, &link, sizeof link), route, "link up");
}

static void add_address(int route, int index, int family, const void *address, uint32_t size) {
  struct ifaddrmsg body = {.ifa_family = (unsigned char)family, .ifa_prefixlen = (unsigned char)(size * 8), .ifa_index = (unsigned)index, .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0};
  struct request *request = request_new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof body);
  request_add(request, IFA_LOCAL, address, size);
  request_add(request, IFA_ADDRESS, address, size);
  request_send(request, route, "address");
}

/* A route to one address on the link, or with a gateway to everything. */
static void add_route(int route, int index, int family, const void *to, const void *gateway, uint32_t size) {
  struct rtmsg body = {
      .rtm_family = (unsigned char)family,
      .rtm_dst_len = to == NULL ? 0 : (unsigned char)(size * 8),
      .rtm_table = RT_TABLE_MAIN,
      .rtm_protocol = RTPROT_STATIC,
      .rtm_scope = gateway == NULL && family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
      .rtm_type = RTN_UNICAST,
  };
  struct request *request = request_new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof body);
  if (to != NULL) request_add(request, RTA_DST, to, size);
  if (gateway != NULL) request_add(request, RTA_GATEWAY, gateway, size);
  request_add_u32(request, RTA_OIF, (uint32_t)index);
  request_send(request, route, "route");
}

static void add_neighbour(int route, int index, int family, const void *address, uint32_t size, const unsigned char *link) {
  struct ndmsg body = {.ndm_family = (unsigned char)family, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
  struct request *request = request_new(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
  request_add(request, NDA_DST, address, size);
  request_add(request, NDA_LLADDR, link, 6);
  request_send(request, route, "neighbour");
}

static int index_of(const char *name) {
  int index = (int)if_nametoindex(name);
  if (index == 0) fail(name);
  return index;
}

/* Everything that a sandbox sends goes to the gate, which sees what it refuses. */
static void set_up_sandbox(int route, struct place place) {
  struct in_addr gateway;
  struct in6_addr gateway6;
  inet_pton(AF_INET, GATEWAY, &gateway);
  inet_pton(AF_INET6, GATEWAY6_LINK, &gateway6);
  bring_up(route, 1);
  int eth0 = index_of("eth0");
  add_address(route, eth0, AF_INET, &place.v4, sizeof place.v4);
  add_address(route, eth0, AF_INET6, &place.v6, sizeof place.v6);
  bring_up(route, eth0);
  add_neighbour(route, eth0, AF_INET, &gateway, sizeof gateway, GATE_END);
  add_neighbour(route, eth0, AF_INET6, &gateway6, sizeof gateway6, GATE_END);
  add_route(route, eth0, AF_INET, &gateway, NULL, sizeof gateway);
  add_route(route, eth0, AF_INET, NULL, &gateway, sizeof gateway);
  add_route(route, eth0, AF_INET6, NULL, &gateway6, sizeof gateway6);
}

/* The gate reaches the sandbox by this link alone, and the rules refuse what comes from it by another address. */
static void set_up_gate(int route, const char *name, struct place place) {
  int link = index_of(name);
  struct in6_addr gateway6;
  inet_pton(AF_INET6, GATEWAY6_LINK, &gateway6);
  add_address(route, link, AF_INET6, &gateway6, sizeof gateway6); /* without it the first refusals have no sender */
  bring_up(route, link);
  add_neighbour(route, link, AF_INET, &place.v4, sizeof place.v4, SANDBOX_END);
  add_neighbour(route, link, AF_INET6, &place.v6, sizeof place.v6, SANDBOX_END);
  add_route(route, link, AF_INET, &place.v4, NULL, sizeof place.v4);
  add_route(route, link, AF_INET6, &place.v6, NULL, sizeof place.v6);
}

/* The far end, in the namespace of the gate, which is entered. */
static void finish(int far, const char *gate, const char *name, struct place place) {
  enter_namespace(far, gate);
  int route = open_route_socket();
  set_up_gate(route, name, place);
  close(route);
}

/*
 * Makes the network namespace of one sandbox, linked to the gate's, and shows it at `file`, which exists. When the
 * namespace goes, both ends of the link do.
 */
void link_sandbox(const char *gate, const char *inode, const char *name, const char *address, const char *file) {
  struct place place = place_of(address);
  int far = open_namespace(gate, inode);
  if (unshare(CLONE_NEWNET) != 0) fail("namespace");
  int route = open_route_socket();
  make_pair(route, name, place, far);
  set_up_sandbox(route, place);
  close(route);
  if (mount("/proc/self/ns/net", file, NULL, MS_BIND, NULL) != 0) fail(file);
  finish(far, gate, name, place);
}

/* The network namespace of a process by its number, if that process is in a control group of this name. */
static int namespace_of(const char *pid, const char *group) {
  int process = open_process(pid, group);
  int fd = openat(process, "ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("process");
  close(process);
  return fd;
}

static ino_t inode_of(int fd) {
  struct stat status;
  if (fstat(fd, &status) != 0) fail("namespace");
  return status.st_ino;
}

/* What a sandbox has beside lo before it has a link would be another way out. */
static void must_have_lo_alone(void) {
  struct if_nameindex *all = if_nameindex();
  if (all == NULL) fail("interfaces");
  for (struct if_nameindex *each = all; each->if_index != 0; each++) {
    if (each->if_index == 1) continue;
    errno = EEXIST;
    fail(each->if_name);
  }
  if_freenameindex(all);
}

/* Docker has turned IPv6 off. The gate refuses what comes by it, and what cannot be sent would not be seen. A kernel without
 * IPv6 has no such setting, and then no link either. */
static void turn_on_ipv6(void) {
  set_value("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0");
  set_value("/proc/sys/net/ipv6/conf/default/disable_ipv6", "0");
}

/*
 * Links a network namespace that somebody else has made, of a process that runs in it and is in a control group of this name.
 * It must be another than the one this runs in and than the gate's, and have no other interface than lo.
 */
void link_process(const char *gate, const char *inode, const char *name, const char *address, const char *pid, const char *group) {
  struct place place = place_of(address);
  int far = open_namespace(gate, inode);
  int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  int near = namespace_of(pid, group);
  if (own < 0 || inode_of(near) == inode_of(own) || inode_of(near) == inode_of(far)) {
    errno = EINVAL;
    fail("namespace");
  }
  enter_namespace(near, "namespace");
  must_have_lo_alone();
  turn_on_ipv6();
  int route = open_route_socket();
  make_pair(route, name, place, far);
  set_up_sandbox(route, place);
  close(route);
  finish(far, gate, name, place);
}

static void remove_link(int route, int index) {
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = index};
  errno = request_try(request_new(RTM_DELLINK, 0, &link, sizeof link), route, "unlink");
  if (errno != 0 && errno != ENODEV) fail("unlink"); /* its namespace may have gone meanwhile */
}

/* Removes the link of this name, or without a name every link of a sandbox, with both of its ends. One that is not there is no error. */
void unlink_sandboxes(const char *gate, const char *inode, const char *name) {
  enter_namespace(open_namespace(gate, inode), gate);
  struct if_nameindex *all = if_nameindex();
  if (all == NULL) fail("interfaces");
  int route = open_route_socket();
  for (struct if_nameindex *each = all; each->if_index != 0; each++) {
    if (each->if_index >= FIRST_LINK_INDEX && (name == NULL || strcmp(each->if_name, name) == 0)) remove_link(route, (int)each->if_index);
  }
  if_freenameindex(all);
  close(route);
}
