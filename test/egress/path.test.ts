import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EgressRule } from '@caisson/contract';
import { canonicalPath, matchesPath } from '@caisson/egress';
import fc from 'fast-check';
import { leastMs } from '../least.ts';

const pathOf = (target: string): string | null => {
  const parsed = canonicalPath(target);
  return 'path' in parsed ? parsed.path : null;
};

test('a path is decoded once and without its query', () => {
  const cases = [
    ['/', '/'], ['/a/b', '/a/b'], ['/a/b/', '/a/b/'], ['/%61', '/a'], ['/a%20b', '/a b'], ['/a?b/../c%00', '/a'], ['/?', '/'], ['/100%25', '/100%'], ['/caf%C3%A9', '/café'], ['/...', '/...'], ['/.well-known/x', '/.well-known/x'], ['/a.b/..c', '/a.b/..c'], ['/a;b=1', '/a;b=1'],
  ] as const;
  for (const [target, path] of cases) assert.equal(pathOf(target), path, target);
});

/** Each is another path to some server: after a second decoding, on Windows, in Java, with slashes merged. */
const AMBIGUOUS: readonly (readonly [string, readonly string[]])[] = [
  ['dot segments', ['/a/../b', '/..', '/a/..', '/.', '/a/./b', '/a/.', '/../a', '/%2e%2e/a', '/.%2E/a', '/a/%2e/b', '/%2e%2e']],
  ['dot segments with parameters', ['/a/..;/b', '/a/..;x=1/b', '/.;/b', '/a/%2e%2e;x/b', '/a/..%3b/b']],
  ['separators in escapes', ['/a%2fb', '/a%2Fb', '/a%5cb', '/a%5Cb', '/..%2f..%2fetc']],
  ['backslashes', ['/a\\b', '/..\\..\\b', '\\a']],
  ['NUL and control characters', ['/a%00', '/a%00.png', '/a%0ab', '/a%0d%0aHost:x', '/a\0', '/a\nb', '/a%7f', '/a%1f', '/a b', '/a\tb']],
  ['escapes of escapes', ['/%252e%252e/a', '/a%252fb', '/a%25%32%66b', '/%2525%32%65', '/%25%36%31']],
  ['escapes that are broken', ['/%', '/%a', '/%zz', '/a%2', '/%u002e', '/%%32%65']],
  ['escapes that are not UTF-8', ['/%c0%af', '/%c0%ae%c0%ae/', '/%e0%80%af', '/%ff', '/%c3', '/%ed%a0%80', '/%f8%80%80%80%af']],
  ['empty segments', ['//', '//a', '/a//b', '///']],
  ['letters that stand for separators and dots', ['/a%ef%bc%8fb', '/a%ef%bc%bcb', '/%ef%bc%8e%ef%bc%8e/a', '/%e2%80%a5/a', '/%e2%80%a4%e2%80%a4/b', '/a/%ef%bc%8e/b', '/a/%ef%bc%8e%ef%bc%8e%ef%bc%9b/b']],
  ['what is no path', ['', 'a', '*', 'http://a.test/', '?a', '#', '/a#b', '/é', 'a/b', ' /a', '/a#?']],
  ['what is too long', [`/${'a'.repeat(4_096)}`, `/${'%61'.repeat(2_000)}`]],
];
for (const [what, targets] of AMBIGUOUS) {
  test(`a path with ${what} is refused, with the reason`, () => {
    for (const target of targets) {
      const parsed = canonicalPath(target);
      assert.match('refused' in parsed ? parsed.refused : '', /^a path /, target);
    }
  });
}

const piece = fc.constantFrom('a', 'b', '/', '.', '..', '%', '%2e', '%2f', '%25', '%61', '%00', '%c3%a9', '%ef%bc%8e', ';', '\\', '?', '2e', '#', ' ');
const target = fc.array(piece, { maxLength: 10 }).map((pieces) => `/${pieces.join('')}`);

test('what comes back as a path names the same file however often it is decoded and resolved', () => {
  let clear = 0;
  fc.assert(fc.property(target, (text) => {
    const parsed = canonicalPath(text);
    if ('refused' in parsed) return;
    clear++;
    const { path } = parsed;
    const url = new URL('http://a.test/');
    url.pathname = path.replaceAll('%', '%25').replaceAll('?', '%3F').replaceAll('#', '%23');
    assert.equal(decodeURIComponent(url.pathname), path, 'a URL parser resolves nothing in it');
    assert.ok(!/%[0-9a-f]{2}/i.test(path) && !/[\\\u0000-\u001f]/.test(path));
    assert.ok(path.normalize('NFKC').split('/').slice(1).every((segment, at, all) => segment !== '.' && segment !== '..' && (segment !== '' || at === all.length - 1)));
  }), { numRuns: 10_000 });
  assert.ok(clear > 1_000, `${clear} paths were clear`);
});

test('whatever a sandbox writes as a path is decided', () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), target), (text) => {
    assert.notEqual('path' in canonicalPath(text), 'refused' in canonicalPath(text));
  }), { numRuns: 3_000 });
});

test('* stands for anything within a segment and ** across them', () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['/a', ['/a'], ['/', '/a/', '/ab', '/A', '/a/b']],
    ['/*', ['/', '/a'], ['/a/', '/a/b']],
    ['/a/*/c', ['/a/b/c', '/a//c'], ['/a/c', '/a/b/b/c', '/a/b/c/']],
    ['/a/**', ['/a/', '/a/b', '/a/b/c'], ['/a', '/ab', '/b/a/']],
    ['/**', ['/', '/a', '/a/b/'], []],
    ['/**/c', ['//c', '/a/c', '/a/b/c'], ['/c', '/a/c/d', '/ac']],
    ['/a*b*c', ['/abc', '/axbxc', '/abcbc'], ['/ab/c', '/abcd']],
    ['/v1/%61', ['/v1/a'], ['/v1/%61']],
    ['/a%2Ab', ['/a*b'], ['/axb']],
    ['/caf%C3%A9', ['/café'], ['/cafe']],
    ['/a.b', ['/a.b'], ['/axb']],
    ['/(a|b)+$', ['/(a|b)+$'], ['/a', '/ab']],
  ];
  for (const [pattern, yes, no] of cases) {
    for (const path of yes) assert.ok(matchesPath(pattern, path), `${pattern} means ${path}`);
    for (const path of no) assert.ok(!matchesPath(pattern, path), `${pattern} does not mean ${path}`);
  }
});

test('a pattern means what the regular expression means that says the same', () => {
  const patterns = fc.array(fc.constantFrom('a', 'b', 'aa', 'ab', '/', '*', '**', '*', '***'), { maxLength: 8 }).map((pieces) => `/${pieces.join('')}`);
  const paths = fc.array(fc.constantFrom('a', 'b', 'ab', 'aab', '/'), { maxLength: 12 }).map((pieces) => `/${pieces.join('')}`);
  let matched = 0;
  fc.assert(fc.property(patterns, paths, (pattern, path) => {
    const expression = new RegExp(`^${pattern.replace(/\*\*|\*/g, (star) => (star === '**' ? '.*' : '[^/]*'))}$`);
    if (expression.test(path)) matched++;
    assert.equal(matchesPath(pattern, path), expression.test(path), `${pattern} ${path}`);
  }), { numRuns: 30_000 });
  assert.ok(matched > 1_000, `${matched} paths matched`);
});

test('no pattern takes long on any path: time grows with path times pattern', () => {
  const path = (chars: number): string => `/${'a'.repeat(chars - 1)}`;
  const worst = [`/**${'a'.repeat(500)}b`, `/**a*${'a'.repeat(500)}b`, `/${'*a'.repeat(500)}b`, `/${'**a'.repeat(300)}b`, `/${'**a*a'.repeat(200)}b`, `/**${'*/a'.repeat(300)}b`];
  for (const pattern of worst) {
    for (const long of [path(4_096), '/a'.repeat(2_048), `/${'a/aa'.repeat(1_000)}`]) {
      const tookMs = leastMs(500, () => assert.ok(!matchesPath(pattern, long)));
      assert.ok(tookMs < 500, `${pattern.slice(0, 20)} took ${tookMs} ms`);
    }
  }
});

test('a pattern that no clear path could match is no rule', () => {
  const taken = (path: string): boolean => EgressRule.safeParse({ host: 'a.test', port: 80, http: { paths: [path] } }).success;
  for (const path of ['/', '/**', '/a/*', '/a%20b', '/caf%C3%A9', '/a/', '/...', '/a%2Ab']) assert.ok(taken(path), path);
  for (const path of ['', 'a', '/a/../b', '/./a', '//a', '/%2e%2e/a', '/a%2fb', '/a%5Cb', '/a\\b', '/%', '/%ff', '/a?b', '/a#b', '/a b', '/é']) assert.ok(!taken(path), path);
});

test('a pattern without stars that is a rule means the path that it spells', () => {
  fc.assert(fc.property(target, (text) => {
    const parsed = canonicalPath(text);
    if (!('path' in parsed) || !EgressRule.safeParse({ host: 'a.test', port: 80, http: { paths: [text] } }).success) return;
    assert.ok(matchesPath(text, parsed.path), text);
  }), { numRuns: 3_000 });
});
