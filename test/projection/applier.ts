import { openProjection } from '@caisson/projection';
import { logged, madeLog } from './given.ts';

/** Applies a log to a database in small batches until it is killed: node applier.ts FILE SEED LENGTH BATCH. */
const [, , path = '', seed = '', length = '0', batch = '1'] = process.argv;
const lines = logged(madeLog(seed, Number(length)));
const projection = openProjection(path);
process.stdout.write('ready\n');
for (let at = 0; at < lines.length; at += Number(batch)) projection.apply(lines.slice(0, at + Number(batch)).slice(Math.max(0, at - 3)));
projection[Symbol.dispose]();
