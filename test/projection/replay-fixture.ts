import { replayFixture } from './fixture.ts';

/** Prints what each replay of the log in a folder comes to, as JSON, a line each: node replay-fixture.ts FOLDER [TIMES]. */
const [, , folder = '', times = '1'] = process.argv;
for (let time = 0; time < Number(times); time++) process.stdout.write(`${JSON.stringify(replayFixture(folder, time))}\n`);
