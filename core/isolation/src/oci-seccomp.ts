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
    syscalls: rules.flatMap(({ names, when, errno }) => alternatives(when).map((conditions) => ({
      names,
      ...toOciAction(errno, level),
      ...(conditions === undefined ? {} : { args: conditions.map(toOciCondition) }),
    }))),
  };
}

/**
 * OCI compares either all 64 bits of an argument or some of them for equality, and a program may set the upper bits of one
 * whose lower ones the kernel reads. So one condition that some bits differ becomes a rule for each bit: this one differs.
 */
function alternatives(when: readonly SeccompCondition[] | undefined): readonly (readonly SeccompCondition[] | undefined)[] {
  const index = when?.findIndex(({ operator }) => operator === 'masked-not-equal') ?? -1;
  const differing = when?.[index];
  if (when === undefined || differing === undefined) return [when];
  const { argument, value, mask = 0 } = differing;
  const bits = Array.from({ length: 32 }, (_, bit) => 2 ** bit).filter((bit) => (mask & bit) !== 0);
  return bits.flatMap((bit) => alternatives(when.with(index, { argument, operator: 'masked-equal', mask: bit, value: (value & bit) === 0 ? bit : 0 })));
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
    case 'masked-not-equal': throw new CaissonError('LAUNCH_FAILED', { detail: 'a condition of the filter that no runtime knows' });
    case 'masked-equal': return { index: argument, value: mask ?? Number.MAX_SAFE_INTEGER, valueTwo: value, op: 'SCMP_CMP_MASKED_EQ' };
  }
}
