import { resolve } from 'node:path';
import { main } from './program.ts';

/** The checkout; its launcher script names it. */
const home = process.env['CAISSON_HOME'] ?? resolve(import.meta.dirname, '../../..');
await main(process.argv.slice(2), home);
