import { enableCompileCache } from 'node:module';
import { resolve } from 'node:path';

/** The checkout; its launcher script names it. Compiled code is cached inside it and nowhere that others can write. */
const home = process.env['CAISSON_HOME'] ?? resolve(import.meta.dirname, '../../..');
enableCompileCache(`${home}/build/compile-cache`);

const { main } = await import('./program.ts');
await main(process.argv.slice(2), home);
