import { replayFixture } from './fixture.ts';

/** Prints what a replay of the log in the named folder comes to, as JSON: what two processes are compared by. */
process.stdout.write(`${JSON.stringify(replayFixture(process.argv[2] ?? ''))}\n`);
