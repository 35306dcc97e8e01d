import { Option, type Command } from 'commander';

/** Gathers the values of an option that may be repeated. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function levelOption(): Option {
  return new Option('--level <level>', 'kernel surface: container, gvisor or microvm (default: the policy’s)').choices(['container', 'gvisor', 'microvm']);
}

/** A command that runs another in a sandbox of its own, and the options of that. */
export function running(command: Command): Command {
  return command
    .usage('[options] -- COMMAND [ARGUMENT…]')
    .argument('<command...>', 'program and arguments')
    .passThroughOptions()
    .addOption(levelOption())
    .option('--timeout <duration>', 'wall time, such as 30s (default 60s)')
    .option('--cpu-time <duration>', 'CPU time of everything in the sandbox')
    .option('--memory <size>', 'memory, such as 512Mi; no swap (default 512Mi)')
    .option('--pids <n>', 'processes and threads (default 50)')
    .option('--cpus <n>', 'cores, such as 0.5 (default 1)')
    .option('--output-limit <size>', 'bytes returned of stdout, and of stderr (default 16Mi)')
    .option('--workspace <size>', 'size of /workspace (default 256Mi)')
    .option('--cwd <path>', 'working directory in the sandbox (default /workspace)')
    .option('--env <NAME=VALUE>', 'add a variable; may be repeated', collect);
}

/** The options of what makes a sandbox that stays. */
export function creating(command: Command): Command {
  return command
    .option('--name <name>', 'name by which it is found while it lives')
    .addOption(levelOption())
    .option('--image <image>', 'host, the name of an image or its digest (default host)')
    .option('--timeout <duration>', 'longest that one command may take (default: as long as the sandbox lives)')
    .option('--cpu-time <duration>', 'most CPU time of one command (default: as --timeout on every core it has)')
    .option('--memory <size>', 'memory, such as 512Mi; no swap (default 512Mi)')
    .option('--pids <n>', 'processes and threads (default 50)')
    .option('--cpus <n>', 'cores, such as 0.5 (default 1)')
    .option('--output-limit <size>', 'bytes kept of stdout, and of stderr, of one command (default 64Mi)')
    .option('--disk <size>', 'size of a new workspace (default 4Gi)')
    .option('--ttl <duration>', 'time after which it is closed, whatever it does (default 1h)')
    .option('--idle <duration>', 'time without use after which it is closed (default 15m)')
    .option('--with-memory', 'go on with the running processes that the other, or the snapshot, has (level gvisor)')
    .option('--keep-alive', 'being idle never closes it')
    .option('--workspace <name>', 'workspace that outlives it; made when there is none')
    .option('--label <NAME=VALUE>', 'label to find it by; may be repeated', collect)
    .option('--env <NAME=VALUE>', 'variable of every command in it; may be repeated', collect)
    .option('--allow <HOST[:PORT]>', 'let it reach a host by name (port 443; add /tls, /http, /https or /tcp to say what is spoken; /https: requests are read); may be repeated', collect)
    .option('--secret <NAME>', 'let it use a secret of the policy, at its hosts or as a file; may be repeated', collect)
    .option('--audit-mirror', 'let it read the records of its own execs at /workspace/audit.jsonl, where the policy has auditMirror')
    .option('--policy <FILE>', 'let it reach what the rules in a JSON file allow')
    .option('--json', 'print one object');
}
