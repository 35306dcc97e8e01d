import { resolve } from 'node:path';
import { connectEarly } from './early.ts';

/** The checkout; its launcher script names it. */
const home = process.env['CAISSON_HOME'] ?? resolve(import.meta.dirname, '../../..');
const argv = process.argv.slice(2);
const early = connectEarly(argv);
try {
  const { main } = await import('./program.ts');
  await main(argv, { home, early });
} finally {
  early?.destroy();
}
