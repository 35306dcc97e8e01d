import { randomBytes } from 'node:crypto';

/** Nobody could guess it: wherever it is found, it is the secret. */
export const canary = (): string => `canary-${randomBytes(20).toString('hex')}`;

/**
 * Python that looks for a text in everything that a sandbox can read: files, environments, command lines, and memory of its
 * processes. It says how often it found it, and where. The text comes in two halves, so as not to be found in the search itself.
 */
export const SEARCH = `
import os, re, sys
text = (sys.argv[1] + sys.argv[2]).encode()
found = []
def look(path, size=1 << 26):
    try:
        with open(path, "rb") as file:
            if text in file.read(size): found.append(path)
    except OSError: pass
for top in ("/workspace", "/tmp", "/etc", "/dev/shm", "/.caisson", "/run", "/var", "/home", "/root", "/mnt", "/srv"):
    for folder, _, names in os.walk(top):
        for name in names:
            if os.path.isfile(os.path.join(folder, name)): look(os.path.join(folder, name))
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline", "mountinfo"): look(f"/proc/{pid}/{name}")
    if int(pid) == os.getpid(): continue
    try:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                start, end, mode = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\\S+)", line).groups()
                if "r" not in mode or int(end, 16) - int(start, 16) > 1 << 28: continue
                try:
                    memory.seek(int(start, 16))
                    if text in memory.read(int(end, 16) - int(start, 16)): found.append(f"memory of {pid}")
                except (OSError, ValueError, OverflowError): pass
    except OSError: pass
print("found", len(found), *found)
`;
