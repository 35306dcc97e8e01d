import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { encodeBundle, formatVerifierKey } from '@caisson/tlog';
import { HOME } from '../harness.ts';
import { callsOf, entryOf, headOf, newSigner, put, runProgram, secondOpinion, tempFolder, writeLog } from './given.ts';

const signer = newSigner();
const vkey = formatVerifierKey(signer.publicKey);

/** Key, message and signature of RFC 8032 §7.1, tests 1 to 3. */
const RFC_8032 = [
  ['d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a', '', 'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b'],
  ['3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c', '72', '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00'],
  ['fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025', 'af82', '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a'],
] as const;

/** For each vector: whether it verifies; and with one bit of each part changed, and with the order of the group added to S. */
const VECTORS = `
import sys; sys.path.insert(0, sys.argv[1])
from verify import ed25519_verifies, L
for vector in sys.argv[2:]:
    key, message, signature = map(bytes.fromhex, vector.split(','))
    flip = lambda data: bytes([data[0] ^ 1]) + data[1:] if data else b'x'
    more = signature[:32] + (int.from_bytes(signature[32:], 'little') + L).to_bytes(32, 'little')
    print(ed25519_verifies(key, message, signature), *(ed25519_verifies(*given) for given in [(flip(key), message, signature), (key, flip(message), signature), (key, message, flip(signature)), (key, message, more), (key, message, b'')]))
`;

suite('a good log', () => {
  for (const size of [0, 1, 2, 255, 256, 257, 512, 513, 66_000]) {
    test(`of ${size} entries is good in a second opinion, against every head that was kept`, async (t) => {
      const folder = tempFolder(t);
      const entries = callsOf(size);
      await writeLog(folder, entries, signer);
      const kept = [0, 1, 200, 256, 300, 65_537].filter((old) => old <= size);
      for (const old of kept) put(folder, `kept-${old}`, await headOf(entries.slice(0, old), signer));
      const { status, stdout, stderr } = await secondOpinion(folder, '--key', vkey, ...kept.flatMap((old) => ['--checkpoint', join(folder, `kept-${old}`)]));
      assert.match(stdout, new RegExp(`^good: ${size} entries, root [0-9a-f]{64}, signed by caisson\\.example/evidence\\+[0-9a-f]{8}, ${size % 2} intents without an outcome\n$`), stderr);
      assert.equal(status, 0);
    });
  }

  test('is good while entries are published after its head', async (t) => {
    const folder = tempFolder(t);
    await writeLog(folder, callsOf(300), signer);
    put(folder, 'tile/entries/001', encodeBundle(callsOf(512).slice(256)));
    assert.equal((await secondOpinion(folder)).status, 0);
  });

  test('is good when its key has changed, for who trusts both keys', async (t) => {
    const folder = tempFolder(t);
    const entries = callsOf(300);
    const next = newSigner();
    await writeLog(folder, entries, next);
    put(folder, 'kept', await headOf(entries.slice(0, 200), signer));
    put(folder, 'log.vkey', `${formatVerifierKey(next.publicKey)}\n${vkey}\n`);
    const { status, stdout } = await secondOpinion(folder, '--checkpoint', join(folder, 'kept'));
    assert.equal(status, 0, stdout);
    assert.match(stdout, /note: the key is the one beside the log/);
  });

  test('may hold sealed values, origins, every kind, names beyond the basic plane and no text at all', async (t) => {
    const folder = tempFolder(t);
    const sealed = { key: 'k', nonce: 'AAAA', text: 'AAAA' };
    const body = { '\uffee': 1, '😀': 2, '': null, 'a\u007f\u2028': [true, false, -1, 9007199254740991, '\u0000\b\f\r\t\\/'] };
    await writeLog(folder, [entryOf(0, { kind: 'heartbeat', body, origin: { run: 'a'.repeat(32), seq: 1 }, sealed }), entryOf(1, { kind: 'alert', body: null }), entryOf(2, { kind: 'egress', body: {} })], signer);
    const { status, stdout } = await secondOpinion(folder);
    assert.equal(status, 0, stdout);
  });
});

suite('the second opinion', () => {
  test('verifies the signatures of RFC 8032, and none with a part changed', async () => {
    const { stdout, stderr } = await runProgram(['python3', '-B', '-c', VECTORS, `${HOME}/verify`, ...RFC_8032.map((vector) => vector.join(','))]);
    assert.equal(stdout, 'True False False False False False\n'.repeat(RFC_8032.length), stderr);
  });

  test('is at most 200 lines, and imports nothing that does not come with Python', async () => {
    const { stdout } = await runProgram(['python3', '-B', '-c', `
import ast, sys
text = open(sys.argv[1]).read()
names = [alias.name for part in ast.walk(ast.parse(text)) if isinstance(part, ast.Import) for alias in part.names]
print(text.count(chr(10)) <= 200, all(name in sys.stdlib_module_names for name in names), any(isinstance(part, ast.ImportFrom) for part in ast.walk(ast.parse(text))))`, `${HOME}/verify/verify.py`]);
    assert.equal(stdout, 'True True False\n');
  });

  test('ends with 2 when it is asked for what is not there', async (t) => {
    const folder = tempFolder(t);
    await writeLog(folder, callsOf(3), signer);
    for (const args of [[], [`${folder}/none`], [folder, '--key', 'no key'], [folder, '--checkpoint', `${folder}/none`]]) assert.equal((await secondOpinion(...args)).status, 2, args.join(' '));
  });
});
