/* The gate namespace: a network namespace without an uplink, in which the gate alone listens. */
#ifndef CAISSON_GATE_H
#define CAISSON_GATE_H

#include "../process.h"

/* Addresses and ports of the plan, the same as in profiles/egress/gate.nft and core/egress/src/plan.ts. */
#define GATEWAY "198.18.0.1"
#define GATEWAY6_LINK "fe80::1"
#define TCP_PORT 15001
#define DNS_PORT 53
#define HTTP_PROXY_PORT 3128
#define SOCKS_PORT 1080
#define SEEN_GROUP 7
/* Index of the link of slot 0 in the gate's namespace. */
#define FIRST_LINK_INDEX 1000

/* Opens a network namespace by its path in /proc, and fails when it is not the one with this inode: processes go, and their
 * numbers come again. */
int open_namespace(const char *path, const char *inode);
void enter_namespace(int fd, const char *what);

void hold(const char *rules) __attribute__((noreturn));
void start_gate(const char *netns, const char *inode, const char *uid, const char *gid, char **argv) __attribute__((noreturn));
void link_sandbox(const char *gate, const char *inode, const char *name, const char *address, const char *file);
void link_process(const char *gate, const char *inode, const char *name, const char *address, const char *pid, const char *group);
void unlink_sandboxes(const char *gate, const char *inode, const char *name);
/* Writes a value to a file of /proc/sys; those of the network are of the namespace that this is in. */
void set_value(const char *path, const char *value);
/* Reads refused packets from the kernel's log and writes them to `out`, until its reader is gone. */
void relay_seen(int log, int out) __attribute__((noreturn));
int open_seen(void);

struct request;
struct request *request_new(uint16_t type, uint16_t flags, const void *header, uint32_t size);
void request_add(struct request *, uint16_t type, const void *bytes, uint32_t size);
void request_add_u32(struct request *, uint16_t type, uint32_t value);
uint32_t request_begin(struct request *, uint16_t type);
/* What an attribute holds before the attributes that are in it. */
void request_header(struct request *, const void *bytes, uint32_t size);
void request_end(struct request *, uint32_t at);
/* Sends a request on a socket of NETLINK_ROUTE and waits for its reply; fails as `step` when the kernel refuses. */
void request_send(struct request *, int socket, const char *step);
/* The same, but a refusal is what it returns, as an errno. */
int request_try(struct request *, int socket, const char *step);
int open_route_socket(void);

#endif
