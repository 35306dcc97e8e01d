export { decide } from './decide.ts';
export { parsePolicy } from './policy.ts';
