import { z } from 'zod';
import { HostName } from './host-name.ts';
import { CertificatePem } from './network.ts';

/** A certificate authority that one sandbox alone trusts: by it the gate stands for servers whose requests it reads. */
export interface CertificateAuthority {
  /** PEM. */
  readonly certificate: string;
  /** PKCS #8, PEM. Whoever has it can stand for these names before this sandbox, and before nobody else. */
  readonly key: string;
  /** Names that it may certify, and every name below them. */
  readonly names: readonly string[];
}

export const CertificateAuthority: z.ZodType<CertificateAuthority> = z.strictObject({
  certificate: CertificatePem,
  key: z.string().max(4_096),
  names: z.array(HostName).min(1).max(1_024),
});

/** Whether an authority can certify a host, or every host that `*.` and a name means. */
export function certifies({ names }: Pick<CertificateAuthority, 'names'>, host: string): boolean {
  const name = host.replace(/^\*\./, '');
  return names.some((certified) => name === certified || name.endsWith(`.${certified}`));
}
