import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetworkPolicy, readResolver } from '@caisson/contract';

const GOOD = {
  '9.9.9.9': { transport: 'plain', address: '9.9.9.9' },
  'tls://192.0.2.1': { transport: 'tls', address: '192.0.2.1', port: 853, name: '192.0.2.1', path: '' },
  'tls://192.0.2.1:8853#dns.example': { transport: 'tls', address: '192.0.2.1', port: 8853, name: 'dns.example', path: '' },
  'tls://[2001:db8::1]#dns.example': { transport: 'tls', address: '2001:db8::1', port: 853, name: 'dns.example', path: '' },
  'https://192.0.2.1/dns-query': { transport: 'https', address: '192.0.2.1', port: 443, name: '192.0.2.1', path: '/dns-query' },
  'https://[2001:db8::1]:8443/x/dns-query#dns.example': { transport: 'https', address: '2001:db8::1', port: 8443, name: 'dns.example', path: '/x/dns-query' },
} as const;

const BAD = [
  'dns.example', 'tls://dns.example', 'https://dns.example/dns-query', 'https://dns.example/dns-query#192.0.2.1', 'https://192.0.2.1', 'https://192.0.2.1#dns.example',
  'tls://192.0.2.1/x', 'tls://192.0.2.1:0', 'tls://192.0.2.1:65536', 'tls://192.0.2.1#', 'tls://192.0.2.1#192.0.2.2', 'tls://192.0.2.1#DNS.example', 'tls://192.0.2.1#a b',
  'tls://2001:db8::1', 'tls://[192.0.2.1]', 'tls://192.0.2', 'tls://[::1', 'http://192.0.2.1/dns-query', 'quic://192.0.2.1', 'udp://192.0.2.1', 'https://u:p@192.0.2.1/dns-query',
  'https://192.0.2.1/dns-query{?dns}', 'https://192.0.2.1/dns-query?x', 'https://192.0.2.1/a b', 'tls://192.0.2.1\n', ' tls://192.0.2.1', 'TLS://192.0.2.1', '192.0.2.1:53', '',
];

test('a resolver is an address, or says by TLS or HTTPS where it is and whom it proves to be', () => {
  for (const [text, server] of Object.entries(GOOD)) {
    assert.deepEqual(readResolver(text), server, text);
    assert.ok(NetworkPolicy.safeParse({ resolvers: [text] }).success, text);
  }
  for (const text of BAD) {
    assert.equal(readResolver(text), null, text);
    assert.ok(!NetworkPolicy.safeParse({ resolvers: [text] }).success, text);
  }
});

test('resolvers that are asked in the open and such that are not never stand together', () => {
  assert.ok(NetworkPolicy.safeParse({ resolvers: ['tls://192.0.2.1', 'https://192.0.2.2/dns-query'] }).success);
  const mixed = NetworkPolicy.safeParse({ resolvers: ['tls://192.0.2.1', '9.9.9.9'] });
  assert.match(mixed.error?.message ?? '', /never both/);
});
