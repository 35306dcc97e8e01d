import { NAMESPACES } from '@caisson/contract';
import type { Mechanism } from './mechanism.ts';

/** Every kind is private. The time namespace is not: it would only shift clocks, which isolates nothing. */
export const namespaces: Mechanism<'namespaces' | 'hostname' | 'network'> = ({ hostname = 'caisson', network = false }) => ({
  namespaces: NAMESPACES,
  network: network ? 'gate' : 'none',
  /** Unasked the same in every sandbox, so that builds inside are repeatable and the host's name stays unknown. */
  hostname,
});
