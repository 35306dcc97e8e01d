import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MIB, type RunRequest } from '@caisson/contract';
import { toOci, type CompileInput, type Placement } from '@caisson/isolation';
import { CERTIFICATE, placement, specFor } from './given.ts';

/** UPDATE_GOLDEN=1 writes the files anew: read the difference before it is committed. */
const UPDATE = process.env['UPDATE_GOLDEN'] === '1';

const trust = {
  folder: '/run/caisson/sandboxes/sbx-0123456789abcdef/trust',
  lists: [{ at: '/etc/ssl/certs/ca-certificates.crt', source: '/run/caisson/sandboxes/sbx-0123456789abcdef/trust/ca-bundle.crt' }],
};

const cases: Readonly<Record<string, readonly [Partial<RunRequest>, Partial<Placement>, Pick<CompileInput, 'terminals' | 'network' | 'certificate' | 'secrets'>?]>> = {
  'container-default': [{}, {}],
  'gvisor': [{ level: 'gvisor' }, {}],
  'small-memory': [{ limits: { memoryBytes: 32 * MIB, cpuMillis: 250, pids: 8 } }, {}],
  'no-swap-accounting': [{}, { swapAccounting: false }],
  'terminals': [{}, {}, { terminals: true }],
  'trust': [{}, { trust, netns: '/run/caisson/sandboxes/sbx-0123456789abcdef/netns', denials: '/run/caisson/denials/198.19.0.1' }, { network: true, certificate: CERTIFICATE }],
  'secrets': [{}, { secrets: '/run/caisson/sandboxes/sbx-0123456789abcdef/secrets/shown' }, { secrets: { sandbox: 'sbx-0123456789abcdef', files: [{ name: 'id_ed25519', lease: 'lea-0123456789abcdef' }] } }],
  'arm64': [{}, { arch: 'arm64' }],
};

for (const [name, [request, place, more]] of Object.entries(cases)) {
  test(`the OCI config of ${name} is the one that was reviewed`, () => {
    const path = join(import.meta.dirname, 'golden', `${name}.json`);
    const text = readable(toOci(specFor(request, more), { ...placement, ...place }));
    if (UPDATE) writeFileSync(path, text);
    assert.equal(text, readFileSync(path, 'utf8'));
  });
}

/** One line for each object or list of plain values, so that a review reads rules and not brackets. */
function readable(value: unknown, indent = ''): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = `${indent}  `;
  const flat = Object.values(value).every((field) => typeof field !== 'object' || JSON.stringify(field).length <= 80);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  if (flat && JSON.stringify(value).length <= 160) return JSON.stringify(value);
  const fields = Array.isArray(value)
    ? value.map((item) => inner + readable(item, inner))
    : Object.entries(value).map(([name, field]) => `${inner}${JSON.stringify(name)}: ${readable(field, inner)}`);
  return `${open}\n${fields.join(',\n')}\n${indent}${close}${indent === '' ? '\n' : ''}`;
}
