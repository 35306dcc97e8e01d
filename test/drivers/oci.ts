export function ociSuite(_n: string, _s: string|false): void {}
