/* caisson-probe: attacks the sandbox that it runs in.
 *
 *   caisson-probe NAME [NAME=VALUE...]              one attack, in this process
 *   caisson-probe batch NAME... [NAME=VALUE...]     several, each in a child with five seconds
 *   caisson-probe list                              the names of all attacks
 *   caisson-probe victim [NAME=VALUE...]            something to attack, until its stdin ends; prints its ports
 *   caisson-probe euid                              its effective user id
 *
 * Each attack prints one line of JSON: {"probe":NAME,"through":true|false|null,"saw":TEXT}; `true` means that
 * the attack worked, `null` that it could not be tried. */
#include "probe.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROBE_SECONDS = 20 };

static const struct probe *const tables[] = {
    privilege_probes, mount_probes,  namespace_probes, kernel_probes,  abi_probes,    file_probes,
    proc_probes,      device_probes, process_probes,   network_probes, socket_probes, resource_probes,
};
enum { TABLES = sizeof tables / sizeof *tables };

static const struct probe *find(const char *name) {
  for (size_t t = 0; t < TABLES; t++)
    for (const struct probe *p = tables[t]; p->name != NULL; p++)
      if (strcmp(p->name, name) == 0) return p;
  return NULL;
}

static int list(void) {
  for (size_t t = 0; t < TABLES; t++)
    for (const struct probe *p = tables[t]; p->name != NULL; p++) puts(p->name);
  return 0;
}

/* The report is in memory shared with the child: no descriptor that an attack could find and count. */
static void attack_in_child(const struct probe *p, struct report *r) {
  *r = (struct report){UNABLE, STDOUT_FILENO, "it ended without a word"};
  pid_t child = fork();
  if (child < 0) return unable(r, "no process to run it in");
  if (child == 0) {
    setpgid(0, 0);
    alarm(PROBE_SECONDS);
    p->attack(r, p);
    _exit(0);
  }
  setpgid(child, child);
  int status = 0;
  waitpid(child, &status, 0);
  kill(-child, SIGKILL);
  if (!WIFSIGNALED(status)) return;
  int signal = WTERMSIG(status);
  if (signal == SIGSYS) held(r, "killed by the system call filter (SIGSYS)");
  else if (signal == SIGALRM) unable(r, "no answer within %d s", PROBE_SECONDS);
  else unable(r, "it died of signal %d", signal);
}

static int batch(int argc, char **argv) {
  struct report *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (r == MAP_FAILED) return 70;
  for (int i = 0; i < argc; i++) {
    if (strchr(argv[i], '=') != NULL) continue;
    const struct probe *p = find(argv[i]);
    if (p == NULL) *r = (struct report){UNABLE, STDOUT_FILENO, "no such probe"};
    else attack_in_child(p, r);
    write_line(argv[i], r);
  }
  return 0;
}

static int one(const char *name) {
  const struct probe *p = find(name);
  if (p == NULL) {
    fprintf(stderr, "caisson-probe: no probe %s; see caisson-probe list\n", name);
    return 64;
  }
  struct report r = {UNABLE, STDOUT_FILENO, "it ended without a word"};
  p->attack(&r, p);
  write_line(name, &r);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fputs("usage: caisson-probe NAME | batch NAME... | list | victim | euid  [NAME=VALUE...]\n", stderr);
    return 64;
  }
  take_parameters(argc - 2, argv + 2);
  if (strcmp(argv[1], "list") == 0) return list();
  if (strcmp(argv[1], "batch") == 0) return batch(argc - 2, argv + 2);
  if (strcmp(argv[1], "victim") == 0) return victim();
  if (strcmp(argv[1], "euid") == 0) return printf("%d\n", (int)geteuid()) < 0;
  return one(argv[1]);
}
