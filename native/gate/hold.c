#include "gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK 1
#define TABLE 100

void set_value(const char *path, const char *value) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) fail(path);
  if (write(fd, value, strlen(value)) < 0) fail(path);
  close(fd);
}

static void run(char *const *argv) {
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    execvp(argv[0], argv);
    fail(argv[0]);
  }
  int status;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) fail("wait");
  }
  if (status == 0) return;
  errno = EPERM;
  fail(argv[0]);
}

/* lo is up and has the gateway's address, by which it answers for it on every link. */
static void set_up_lo(int route) {
  struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  request_send(request_new(RTM_NEWLINK, 0, &link, sizeof link), route, "lo");
  struct ifaddrmsg address = {.ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 1};
  struct request *request = request_new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &address, sizeof address);
  struct in_addr gateway;
  inet_pton(AF_INET, GATEWAY, &gateway);
  request_add(request, IFA_LOCAL, &gateway, sizeof gateway);
  request_send(request, route, "address");
}

/* What the rules have marked for the gate is delivered here, whatever its destination (Documentation/networking/tproxy.rst). */
static void deliver_marked(int route) {
  struct fib_rule_hdr rule = {.family = AF_INET, .table = TABLE, .action = FR_ACT_TO_TBL};
  struct request *request = request_new(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &rule, sizeof rule);
  request_add_u32(request, FRA_FWMARK, MARK);
  request_send(request, route, "rule");
  struct rtmsg local = {.rtm_family = AF_INET, .rtm_table = TABLE, .rtm_protocol = RTPROT_STATIC, .rtm_scope = RT_SCOPE_HOST, .rtm_type = RTN_LOCAL};
  request = request_new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &local, sizeof local);
  request_add_u32(request, RTA_OIF, 1);
  request_send(request, route, "route");
}

/* The namespace lives as long as this process does, and this process as long as whoever started it holds its stdin. */
void hold(const char *rules) {
  prctl(PR_SET_PDEATHSIG, 9);
  if (unshare(CLONE_NEWNET) != 0) fail("namespace");
  set_value("/proc/sys/net/ipv4/ip_forward", "0");
  set_value("/proc/sys/net/ipv6/conf/all/forwarding", "0");
  set_value("/proc/sys/net/ipv4/conf/all/accept_redirects", "0");
  set_value("/proc/sys/net/ipv4/conf/all/send_redirects", "0");
  /* A refusal is told as often as it happens, because the rules bound how often that is. */
  set_value("/proc/sys/net/ipv4/icmp_ratelimit", "0");
  set_value("/proc/sys/net/ipv6/icmp/ratelimit", "0");
  set_value("/proc/sys/net/ipv4/tcp_syncookies", "1");
  /* The end of a new link can answer at once: nobody else is there who could have its address. */
  set_value("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
  set_value("/proc/sys/net/ipv6/conf/default/router_solicitations", "0");
  int route = open_route_socket();
  set_up_lo(route);
  deliver_marked(route);
  close(route);
  run((char *[]){"nft", "-f", (char *)rules, NULL});
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) fail("stdout");
  char byte;
  while (read(STDIN_FILENO, &byte, 1) != 0) {
  }
  _exit(0);
}
