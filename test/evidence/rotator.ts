import { rotateKey } from '@caisson/evidence';

/** Rotates the key of the log in argv[2], and is killed after the step that argv[3] names. */
await rotateKey({ dir: process.argv[2] as string, now: Date.now, onStep: (step) => void (step === process.argv[3] && process.kill(process.pid, 'SIGKILL')) });
