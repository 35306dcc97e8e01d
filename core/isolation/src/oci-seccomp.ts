import { CaissonError, type Level, type Seccomp, type SeccompCondition } from '@caisson/contract';

type Action = 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO' | 'SCMP_ACT_TRACE';
type Operator = 'SCMP_CMP_EQ' | 'SCMP_CMP_NE' | 'SCMP_CMP_MASKED_EQ';

interface OciCondition {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: Operator;
}

/** `linux.seccomp` of an OCI config (config-linux.md, "Seccomp"). */
export interface OciSeccomp {
  readonly defaultAction: 'SCMP_ACT_ERRNO';
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: Action;
    readonly errnoRet?: number;
    readonly args?: readonly OciCondition[];
  }[];
}

/**
 * Only the machine's own 64-bit calls: a call of any other architecture (i386, x32) kills the caller, because its
 * numbers would name other calls than the ones that the rules mean.
 */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'SCMP_ARCH_X86_64', arm64: 'SCMP_ARCH_AARCH64' };

const ENOSYS = 38;

/** @throws CaissonError LAUNCH_FAILED for an architecture that the filter is not written for. */
export function toOciSeccomp({ defaultErrno, rules }: Seccomp, { arch, level }: { readonly arch: string; readonly level: Level }): OciSeccomp {
  const architecture = ARCHITECTURES[arch];
  if (architecture === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: `there is no system call filter for ${arch}` });
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: defaultErrno,
    architectures: [architecture],
    syscalls: rules.map(({ names, when, errno }) => ({
      names,
      ...toOciAction(errno, level),
      ...(when === undefined ? {} : { args: when.map(toOciCondition) }),
    })),
  };
}

function toOciAction(errno: number | undefined, level: Level): { readonly action: Action; readonly errnoRet?: number } {
  if (errno === undefined) return { action: 'SCMP_ACT_ALLOW' };
  // gVisor answers EPERM whatever errnoRet says. A call that is handed to a tracer fails with ENOSYS where there is
  // none (seccomp(2), SECCOMP_RET_TRACE), and there is none: no sandbox has ptrace.
  if (level === 'gvisor' && errno === ENOSYS) return { action: 'SCMP_ACT_TRACE' };
  return { action: 'SCMP_ACT_ERRNO', errnoRet: errno };
}

function toOciCondition({ argument, operator, value, mask }: SeccompCondition): OciCondition {
  switch (operator) {
    case 'equal': return { index: argument, value, op: 'SCMP_CMP_EQ' };
    case 'not-equal': return { index: argument, value, op: 'SCMP_CMP_NE' };
    // libseccomp takes the mask first and the datum second (seccomp_rule_add(3)). No mask is every bit, never none.
    case 'masked-equal': return { index: argument, value: mask ?? Number.MAX_SAFE_INTEGER, valueTwo: value, op: 'SCMP_CMP_MASKED_EQ' };
  }
}
