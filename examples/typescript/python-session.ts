import { Sandbox } from '@caisson/sdk';

await using box = await Sandbox.create();
await using python = await box.python();
await python.run('import statistics\nvalues = [3, 1, 4, 1, 5, 9, 2, 6]');
const { text, error } = await python.run('statistics.median(values)');
console.log(error?.traceback ?? text);
