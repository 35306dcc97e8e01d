import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EgressRule, type HttpRule } from '@caisson/contract';
import { asksForBody, decideConnection, decideHttp, layersOf, readMcp, type HttpRequest, type Layer, type McpRead } from '@caisson/egress';
import fc from 'fast-check';
import { leastMs } from '../least.ts';

const JSON_TYPE = { 'content-type': ['application/json'] };
const read = (body: string | Buffer, fields: Readonly<Record<string, readonly string[]>> = JSON_TYPE): McpRead => readMcp(Buffer.from(body), fields);
const call = (tool: string, more: object = {}): string => JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: { q: 'secret' } }, ...more });
const unclear = (body: string | Buffer, fields?: Readonly<Record<string, readonly string[]>>): void => {
  const found = read(body, fields);
  assert.ok(found !== null && 'unclear' in found, `${body.toString().slice(0, 200)} is read as ${JSON.stringify(found)}`);
};

function layersFor(...rules: readonly Partial<EgressRule>[]): readonly Layer[] {
  const decision = decideConnection(layersOf(undefined, { rules: rules.map((rule) => EgressRule.parse({ host: 'api.test', port: 80, protocol: 'http', ...rule })) }), { host: 'api.test', port: 80 });
  assert.equal(decision.effect, 'allow', decision.reason);
  return decision.effect === 'allow' ? decision.layers : [];
}
const effect = (layers: readonly Layer[], request: Partial<HttpRequest>): string => decideHttp(layers, { method: 'POST', path: '/mcp', bodyBytes: 10, fields: JSON_TYPE, ...request }).effect;
const allow = (http: HttpRule): readonly Layer[] => layersFor({ http });
const deny = (http: HttpRule): readonly Layer[] => layersFor({}, { effect: 'deny', http });

test('a message is read with its method and tool, alone and in a batch', () => {
  assert.deepEqual(read(call('search')), { messages: [{ method: 'tools/call', tool: 'search', id: 1 }], isBatch: false });
  assert.deepEqual(read(`[${call('a')}, {"jsonrpc":"2.0","method":"notifications/initialized"}, {"jsonrpc":"2.0","id":"x","result":{}}]`), {
    messages: [{ method: 'tools/call', tool: 'a', id: 1 }, { method: 'notifications/initialized', tool: null, id: null }, { method: null, tool: null, id: null }], isBatch: true,
  });
  assert.equal(read(''), null);
});

test('a body that two readers could read as two things is not clear', () => {
  const list = '"jsonrpc":"2.0","id":1,"method":"tools/list"';
  const attacks = [
    `{${list},"method":"tools/call","params":{"name":"drop"}}`, // the last key of two
    `{${list},"\\u006dethod":"tools/call"}`,
    `{${list},"Method":"tools/call"}`, // encoding/json of Go folds letters
    `{${list},"METHOD":"tools/call"}`,
    `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","Name":"drop"}}`,
    `{"jsonrpc":"2.0","id":1,"method":"tools/call","param\u017f":{"name":"drop"},"params":{"name":"search"}}`, // long s folds to s
    `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"a":1,"a":2}}}`,
    `{${list}}{${list}}`, `{${list}}\n{${list}}`, `{${list},}`, `// x\n{${list}}`, `{${list}} x`, '[]', '"x"', 'null', '1',
    `\ufeff{${list}}`, `{"jsonrpc":"1.0","id":1,"method":"tools/list"}`, '{"id":1,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":1,"method":["tools/list"]}', '{"jsonrpc":"2.0","id":1,"method":"tools/call\\u0000"}', '{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"drop"}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call"}', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["drop"]}', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop "}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/list","result":{}}', '{"jsonrpc":"2.0","id":1}', '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', '{"jsonrpc":"2.0","id":{},"method":"tools/list"}', '{"jsonrpc":"2.0","id":1e400,"method":"tools/list"}',
    `[${call('a')},[${call('b')}]]`, `${'['.repeat(5_000)}${']'.repeat(5_000)}`,
    `{${list},"params":${'{"a":'.repeat(200)}1${'}'.repeat(200)}}`,
  ];
  for (const attack of attacks) unclear(attack);
  unclear(Buffer.from(`{${list}}`, 'utf16le'));
  unclear(Buffer.concat([Buffer.from(`{${list},"x":"`), Buffer.of(0xc0, 0xaf), Buffer.from('"}')]));
  for (const type of ['text/plain', 'application/json; charset=utf-7', 'application/json; charset=utf-16', 'application/x-www-form-urlencoded', 'application/json, text/plain', '']) unclear(call('a'), { 'content-type': [type] });
  unclear(call('a'), {});
  unclear(call('a'), { 'content-type': ['application/json', 'application/json'] });
  unclear(call('a'), { ...JSON_TYPE, 'content-encoding': ['gzip'] });
  unclear(call('a'), { ...JSON_TYPE, 'content-encoding': ['identity'] });
  for (const fields of [{ 'mcp-method': ['tools/list'] }, { 'mcp-name': ['other'] }, { 'mcp-method': ['tools/call', 'tools/call'] }]) unclear(call('a'), { ...JSON_TYPE, ...fields });
  assert.deepEqual(read(call('a'), { 'content-type': ['application/json; charset=UTF-8'], 'mcp-method': ['tools/call'], 'mcp-name': ['a'] }), read(call('a')), 'control');
});

test('reading a body ends, whatever is in it, and no body throws', () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.json(), fc.array(fc.constantFrom('{', '}', '[', ']', '"', ',', ':', '\\', 'a', '1', ' ')).map((all) => all.join(''))), (text) => void read(text)), { numRuns: 3_000 });
  const long = [`{"a":"${'x'.repeat(1_000_000)}"}`, `[${'"a",'.repeat(200_000)}1]`, `{"a":"${'\\"'.repeat(500_000)}"}`];
  const tookMs = leastMs(2_000, () => long.forEach((body) => unclear(body)));
  assert.ok(tookMs < 2_000, `${tookMs} ms`);
});

test('a rule allows the methods and tools that it names, and a batch only whole', () => {
  const layers = allow({ mcp: { methods: ['initialize', 'notifications/*', 'tools/*'], tools: ['read_*', 'search'] } });
  for (const body of [call('search'), call('read_file'), '{"jsonrpc":"2.0","id":1,"method":"tools/list"}', '{"jsonrpc":"2.0","method":"notifications/initialized"}', '{"jsonrpc":"2.0","id":1,"result":{}}', `[${call('search')},${call('read_x')}]`]) {
    assert.equal(effect(layers, { mcp: read(body) }), 'allow', body);
  }
  for (const body of [call('drop'), call('Search'), call('xread_'), '{"jsonrpc":"2.0","id":1,"method":"resources/read"}', `[${call('search')},${call('drop')}]`, '', 'x']) {
    assert.equal(effect(layers, { mcp: read(body) }), 'deny', body);
  }
  assert.equal(effect(layers, {}), 'deny', 'a body that was not read');
});

test('tools hold what calls a tool and nothing else', () => {
  const layers = allow({ mcp: { tools: ['search'] } });
  assert.equal(effect(layers, { mcp: read('{"jsonrpc":"2.0","id":1,"method":"resources/read"}') }), 'allow');
  assert.equal(effect(layers, { mcp: read(call('drop')) }), 'deny');
});

test('GET and DELETE of the transport pass only where methods names them, and never with a body', () => {
  const mcp = { tools: ['search'] };
  for (const method of ['GET', 'DELETE']) {
    assert.equal(effect(allow({ mcp }), { method, mcp: null }), 'deny', method);
    assert.equal(effect(allow({ mcp, methods: ['POST', method] }), { method, mcp: null }), 'allow', method);
    assert.equal(effect(allow({ mcp, methods: ['POST', method] }), { method, mcp: read(call('search')) }), 'deny', method);
  }
  assert.equal(EgressRule.safeParse({ host: 'a.test', http: { methods: ['PUT'], mcp } }).success, false);
});

test('a rule that denies a tool denies every body in which it, or what nobody can tell from it, could be', () => {
  const layers = deny({ paths: ['/mcp'], mcp: { tools: ['drop_*'] } });
  for (const body of [call('drop_all'), call('DROP_all'), `[${call('search')},${call('drop_x')}]`, 'x', '{}']) assert.equal(effect(layers, { mcp: read(body) }), 'deny', body);
  for (const method of ['PUT', 'PATCH', 'GET']) assert.equal(effect(layers, { method, mcp: read(call('drop_all')) }), 'deny', method);
  assert.equal(effect(layers, {}), 'deny', 'a body that was not read');
  assert.equal(effect(layers, { mcp: read(call('search')) }), 'allow');
  assert.equal(effect(layers, { mcp: null, method: 'GET' }), 'allow');
  assert.equal(effect(layers, { path: '/other' }), 'allow', 'where the rule does not speak');
  assert.equal(effect(deny({ mcp: { methods: ['resources/*'] } }), { mcp: read('{"jsonrpc":"2.0","id":1,"method":"Resources/read"}') }), 'deny');
});

test('a body is asked for where a rule that decides by it means all else of the request, and only there', () => {
  const request: HttpRequest = { method: 'POST', path: '/mcp', bodyBytes: null, fields: JSON_TYPE };
  const layers = layersFor({}, { effect: 'deny', http: { paths: ['/mcp'], mcp: { tools: ['drop'] } } });
  assert.equal(asksForBody(layers, request), true);
  assert.equal(asksForBody(layers, { ...request, method: 'PUT' }), true);
  assert.equal(asksForBody(layers, { ...request, path: '/upload' }), false);
  assert.equal(asksForBody(layersFor({ http: { headers: { 'x-a': 'b' }, mcp: { tools: ['drop'] } } }), request), false);
});

test('a field must be there once with its value to be allowed', () => {
  const layers = allow({ headers: { 'X-Mode': 'safe*', accept: '%2A/%2A' } });
  const fields = { 'x-mode': ['safe-1'], accept: ['*/*'] };
  assert.equal(effect(layers, { fields }), 'allow');
  for (const odd of [{ 'x-mode': [] }, { 'x-mode': ['safe', 'safe'] }, { 'x-mode': ['unsafe'] }, { 'x-mode': ['Safe'] }, { 'x_mode': ['other'] }, { accept: ['text/html'] }]) assert.equal(effect(layers, { fields: { ...fields, ...odd } }), 'deny', JSON.stringify(odd));
  assert.equal(effect(layers, { fields: {} }), 'deny');
});

test('a field that could be read as what is denied is denied', () => {
  const layers = deny({ headers: { 'x-beta': 'computer-use-*' } });
  for (const fields of [
    { 'x-beta': ['computer-use-1'] }, { 'x-beta': ['Computer-Use-1'] }, { 'x-beta': ['other, computer-use-1'] }, { 'x-beta': ['a', 'b'] }, { 'x_beta': ['computer-use-1'] },
    { 'x-beta': ['a'], 'x_beta': ['b'] }, { 'x-beta': ['comp\u0000uter-use-1'] }, { 'x-beta': ['computer-use-é'] },
  ]) assert.equal(effect(layers, { fields }), 'deny', JSON.stringify(fields));
  for (const fields of [{}, { 'x-beta': ['other'] }, { 'x-beta-2': ['computer-use-1'] }]) assert.equal(effect(layers, { fields }), 'allow', JSON.stringify(fields));
});

test('fields that say where a message goes or ends are not for rules', () => {
  for (const name of ['Host', 'content-length', 'Transfer-Encoding', 'connection', 'te', 'x_y', 'x y', ':path', '']) assert.equal(EgressRule.safeParse({ host: 'a.test', http: { headers: { [name]: 'x' } } }).success, false, name);
  for (const headers of [{}, { a: 'b', A: 'c' }, { a: ' b' }, { a: '' }, { a: 'b\n' }]) assert.equal(EgressRule.safeParse({ host: 'a.test', http: { headers } }).success, false, JSON.stringify(headers));
  for (const mcp of [{}, { tools: [] }, { tools: ['a b'] }, { tool: ['a'] }]) assert.equal(EgressRule.safeParse({ host: 'a.test', http: { mcp } }).success, false, JSON.stringify(mcp));
});
