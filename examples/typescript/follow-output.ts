import { Sandbox } from '@caisson/sdk';

await using box = await Sandbox.create();
await using build = await box.spawn(['sh', '-c', 'for step in one two three; do echo "step $step"; sleep 0.2; done']);
for await (const line of build.stdout.lines()) console.log(line);
console.log((await build.wait()).reason);
