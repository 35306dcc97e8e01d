export { decide } from './decide.ts';
export { decideNetwork } from './network.ts';
export { parsePolicy } from './policy.ts';
export { decideExec, decideRenewal, decideSandbox, sandboxRules, type AllowedExec, type AllowedSandbox } from './stay.ts';
