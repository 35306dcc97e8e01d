export { auditTail, auditVerify } from './audit.ts';
export { askControl, runCommand, type RunOptions } from './client.ts';
export { parseBytes, parseCount, parseCpuMillis, parseDurationMs, showBytes } from './quantity.ts';
export { requestOf } from './run.ts';
