import { CaissonError, type Seccomp, type SeccompCondition } from '@caisson/contract';

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
    readonly action: 'SCMP_ACT_ALLOW' | 'SCMP_ACT_ERRNO';
    readonly errnoRet?: number;
    readonly args?: readonly OciCondition[];
  }[];
}

/**
 * Only the machine's own 64-bit calls: a call of any other architecture (i386, x32) kills the caller, because its
 * numbers would name other calls than the ones that the rules mean.
 */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'SCMP_ARCH_X86_64', arm64: 'SCMP_ARCH_AARCH64' };

/** @throws CaissonError LAUNCH_FAILED for an architecture that the filter is not written for. */
export function toOciSeccomp({ defaultErrno, rules }: Seccomp, arch: string): OciSeccomp {
  const architecture = ARCHITECTURES[arch];
  if (architecture === undefined) throw new CaissonError('LAUNCH_FAILED', { detail: `there is no system call filter for ${arch}` });
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: defaultErrno,
    architectures: [architecture],
    syscalls: rules.map(({ names, when, errno }) => ({
      names,
      ...(errno === undefined ? { action: 'SCMP_ACT_ALLOW' } : { action: 'SCMP_ACT_ERRNO', errnoRet: errno }),
      ...(when === undefined ? {} : { args: when.map(toOciCondition) }),
    })),
  };
}

function toOciCondition({ argument, operator, value, mask }: SeccompCondition): OciCondition {
  switch (operator) {
    case 'equal': return { index: argument, value, op: 'SCMP_CMP_EQ' };
    case 'not-equal': return { index: argument, value, op: 'SCMP_CMP_NE' };
    // libseccomp takes the mask first and the datum second (seccomp_rule_add(3)). No mask is every bit, never none.
    case 'masked-equal': return { index: argument, value: mask ?? Number.MAX_SAFE_INTEGER, valueTwo: value, op: 'SCMP_CMP_MASKED_EQ' };
  }
}
