import { Sandbox } from '@caisson/sdk';

await using box = await Sandbox.create({ labels: { example: 'ten-lines' } });
await box.files.write('primes.py', 'print([n for n in range(2, 40) if all(n % d for d in range(2, n))])');
const { stdout } = await box.exec(['python3', 'primes.py'], { check: true });
await box.files.write('primes.txt', stdout);
const snapshot = await box.snapshot({ label: 'with primes' });
await using fork = await box.fork();
console.log(await fork.files.read('primes.txt'), snapshot.id, fork.id);
