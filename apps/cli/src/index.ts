export { auditTail, auditVerify } from './audit.ts';
export { askControl, runCommand, type RunOptions } from './client.ts';
export { parseBytes, parseCount, parseCpuMillis, parseDurationMs, showBytes } from './quantity.ts';
export { requestOf } from './run.ts';
export { doctor, type DoctorOptions } from './doctor/doctor.ts';
export { judge } from './doctor/judge.ts';
export type { Aftermath, Observation, Probe } from './doctor/probe.ts';
export { PROBES } from './doctor/probes.ts';
export type { DoctorReport } from './doctor/report.ts';
