import { resolve } from 'node:path';
import { connectEarly } from './early.ts';

/** The checkout; its launcher script names it. */
const home = process.env['CAISSON_HOME'] ?? resolve(import.meta.dirname, '../../..');
const argv = process.argv.slice(2);
const early = connectEarly(argv);
try {
  // The shell asks this on a key press: the rest of the program need not be loaded for it.
  if (argv[0] === '__ids') await (await import('./ids.ts')).printIds(argv.slice(1));
  else await (await import('./program.ts')).main(argv, { home, early });
} finally {
  early?.destroy();
}
