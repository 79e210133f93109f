/**
 * Generated requests. Known things are named by placeholders (`§list§`), filled in when the request is sent, so that
 * the same seed makes the same requests whatever ids and tokens a run has.
 */
import fc from 'fast-check'
import { isRecord } from '../support/json-schema.ts'

export interface FuzzRoute {
  method: string
  /** As in the app's table: `/api/v1/items/:id`. */
  path: string
  /** An example of its body, where it takes one. */
  example: Record<string, unknown> | null
}

export interface FuzzRequest {
  route: FuzzRoute
  method: string
  caller: string
  parameters: string[]
  query: string
  headers: [string, string][]
  body: FuzzBody | null
}

export interface FuzzBody {
  /** With placeholders; null where `bytes` is the body. */
  text: string | null
  bytes: Uint8Array
  encoding: 'utf8' | 'latin1' | 'utf16le' | 'gzip'
  chunked: boolean
}

export const callers = ['nobody', 'admin', 'owner', 'editor', 'viewer', 'stranger', 'root', 'other'] as const
const things = ['list', 'item', 'owner', 'editor', 'viewer', 'stranger', 'tenant', 'session', 'deleted']
const foreign = ['otherList', 'otherItem', 'otherUser', 'otherTenant', 'missing']
const ids = [...things, ...foreign].map((name) => `§${name}§`)
const words = ['email', 'password', 'refreshToken', 'invitation', 'otherEmail', 'cursor', 'accessToken']

/** Values that have broken programs before. */
const nastyStrings = [
  ...[
    '',
    ' ',
    '\u0000',
    'a\u0000b',
    '\u0007\u001b[2J',
    '\r\nSet-Cookie: a=b',
    '\ud800',
    'x\udfff',
    '\u202eevil',
    '\u200b',
  ],
  ...[
    '👩‍👩‍👧‍👦',
    'e\u0301',
    'ﬀ',
    'مرحبا',
    "'; drop table items; --",
    '%',
    '_',
    '\\',
    '$1',
    '{{7*7}}',
    '../../etc/passwd',
  ],
  ...[
    'null',
    'true',
    'NaN',
    '__proto__',
    'constructor',
    '0x10',
    '1e309',
    '-0',
    '2026-11-22T10:00:00.000Z',
    'a0',
    'zz',
    'a00',
  ],
  ...[
    'a@b',
    'a@b.example',
    `${'a'.repeat(64)}@x.example`,
    '123456',
    'super_admin',
    'owner',
    'purchased',
    '"seq-1"',
  ],
]
const nastyString = fc.oneof(
  fc.constantFrom(...nastyStrings),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)), maxLength: 20 }),
  fc.constantFrom(256, 2001, 5000, 100_000).map((length) => 'ä'.repeat(length)),
  fc.constantFrom(...ids, ...words.map((word) => `§${word}§`)),
)
const numbers = [
  0,
  -0,
  -1,
  0.001,
  0.0005,
  1e-7,
  1.1,
  1_000_000,
  1_000_000.001,
  1e21,
  1e308,
  -1e308,
  2 ** 31,
  2 ** 53,
  5e-324,
]
const deep = (depth: number): unknown =>
  Array.from({ length: depth }).reduce((inner) => (depth % 2 ? [inner] : { a: inner }), 1 as unknown)
const nastyValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 5, arbitrary: nastyString },
  { weight: 3, arbitrary: fc.constantFrom<unknown>(...numbers, null, true, false, [], {}, [null], [[]]) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom(3, 50, 5000).map(deep) },
)
const nastyKey = fc.oneof(
  fc.constantFrom(
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    'tenant_id',
    'role',
    'id',
  ),
  fc.constantFrom(
    'version',
    'seq',
    'owner_id',
    'is_active',
    'email_verified',
    'password_hash',
    'items',
    'then',
    '',
  ),
  nastyString,
)

/** A body as the documents show it, with known things in place of the example's own. */
function plausible(example: Record<string, unknown>): Record<string, unknown> {
  const known: Record<string, string> = {
    email: '§freshEmail§',
    refresh_token: '§refreshToken§',
    token: '§invitation§',
    current_password: '§password§',
    id: '§freshId§',
    slug: '§freshSlug§',
  }
  return Object.fromEntries(
    Object.entries(example).map(([name, value]) => [
      name,
      isRecord(value) ? plausible(value) : (known[name] ?? value),
    ]),
  )
}

function mutated(example: Record<string, unknown>): fc.Arbitrary<unknown> {
  const base = plausible(example)
  const names = Object.keys(base)
  const change = fc.record({
    name: fc.constantFrom('', ...names),
    key: nastyKey,
    value: nastyValue,
    drop: fc.nat(4),
  })
  return fc.array(change, { maxLength: 3 }).map((changes) => {
    const entries = new Map(Object.entries(base))
    for (const { name, key, value, drop } of changes) {
      if (drop === 0) entries.delete(name)
      else entries.set(name === '' ? key : name, value)
    }
    // Object.fromEntries makes own properties, of `__proto__` too.
    return Object.fromEntries(entries)
  })
}

const manyItems = fc
  .array(
    fc.oneof(
      fc.constant({ name: 'Milk' }),
      fc.record({ name: nastyValue, quantity: nastyValue, id: nastyValue }),
    ),
    { maxLength: 12 },
  )
  .map((items) => ({ items }))

const json = (value: unknown): string => JSON.stringify(value) ?? 'null'
const brokenJson = fc.constantFrom(
  '',
  '{',
  '{"a":}',
  '[1,',
  '{"name":"a"}x',
  '{"name":"a","name":"b"}',
  '\ufeff{}',
  '//',
  "{'a':1}",
  '{"a":01}',
  '{"a":NaN}',
)

const textOf = (route: FuzzRoute): fc.Arbitrary<string> => {
  const shaped = mutated(route.example ?? { name: 'x' })
  return fc.oneof(
    { weight: 10, arbitrary: shaped.map(json) },
    { weight: route.path.endsWith('/items') ? 5 : 0, arbitrary: manyItems.map(json) },
    { weight: 2, arbitrary: nastyValue.map(json) },
    { weight: 1, arbitrary: brokenJson },
    { weight: 1, arbitrary: fc.constantFrom(5000, 100_000).map((n) => `${'['.repeat(n)}${']'.repeat(n)}`) },
    { weight: 1, arbitrary: fc.constant(2 ** 20).map((n) => `{"name":"${'x'.repeat(n)}"}`) },
  )
}
const bodyOf = (route: FuzzRoute): fc.Arbitrary<FuzzBody | null> => {
  const text = fc.record({
    text: textOf(route),
    bytes: fc.constant(new Uint8Array()),
    encoding: fc.oneof(
      { weight: 12, arbitrary: fc.constant('utf8' as const) },
      { weight: 1, arbitrary: fc.constantFrom('latin1' as const, 'utf16le' as const, 'gzip' as const) },
    ),
    chunked: fc.nat(9).map((n) => n === 0),
  })
  const raw = fc.record({
    text: fc.constant(null),
    bytes: fc.uint8Array({ maxLength: 200 }),
    encoding: fc.constant('utf8' as const),
    chunked: fc.boolean(),
  })
  const none = fc.constant(null)
  return route.example === null
    ? fc.oneof({ weight: 8, arbitrary: none }, { weight: 1, arbitrary: text }, { weight: 1, arbitrary: raw })
    : fc.oneof({ weight: 1, arbitrary: none }, { weight: 14, arbitrary: text }, { weight: 1, arbitrary: raw })
}

const nastySegments = [
  ...[
    '§list§%00',
    '%00',
    '%ff%fe',
    '%',
    '%zz',
    '..',
    '%2e%2e',
    '%2f',
    '%2F..%2F..',
    '.',
    '-1',
    '0',
    'me',
    'null',
    '*',
    ':id',
    '{id}',
  ],
  ...[
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '00000000-0000-7000-8000-000000000000',
  ],
  ...[
    '550e8400-e29b-41d4-a716-446655440000',
    '§list§ ',
    '§list§%0a',
    '§list§;v=1',
    '§upperList§',
    "1'or'1'='1",
    '%F0%9F%92%A9',
    '%C0%AE',
    'x'.repeat(3000),
  ],
]
const parameter = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...things.map((name) => `§${name}§`)) },
  { weight: 2, arbitrary: fc.constantFrom(...foreign.map((name) => `§${name}§`)) },
  { weight: 2, arbitrary: fc.constantFrom(...nastySegments) },
)

const queryNames = [
  'limit',
  'cursor',
  'since',
  'search',
  'is_active',
  'role',
  'status',
  'scope',
  'deleted',
  '__proto__',
  'a[b]',
  '',
]
const queryValues = [
  ...[
    '0',
    '1',
    '100',
    '101',
    '-1',
    '1e2',
    '1.5',
    '',
    'true',
    'false',
    'TRUE',
    'all',
    'pending',
    'purchased',
    'member',
    'null',
  ],
  ...[
    '%00',
    '%ff',
    '%',
    '%zz',
    '+',
    '%25',
    '%5C',
    '%27',
    '_',
    '§cursor§',
    '§otherCursor§',
    '§cursor§x',
    'e30',
    'AAAA',
    '99999999999999999999',
    '%EF%BF%BD',
  ],
]
const pair = fc
  .tuple(
    fc.constantFrom(...queryNames),
    fc.oneof(
      fc.constantFrom(...queryValues),
      nastyString.map((value) => encodeURIComponent(value.toWellFormed()).slice(0, 2000)),
    ),
  )
  .map(([name, value]) => `${name}=${value}`)
const query = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  {
    weight: 3,
    arbitrary: fc.array(pair, { minLength: 1, maxLength: 3 }).map((pairs) => `?${pairs.join('&')}`),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '?',
      '??',
      '?&&',
      '?=',
      '?limit',
      '?limit=1&limit=2',
      '?limit[]=1',
      '?limit=1;cursor=2',
      '?\xff=\xfe',
    ),
  },
)

const jsonType = 'application/json'
const header: fc.Arbitrary<[string, string]> = fc.oneof(
  fc.tuple(
    fc.constantFrom('If-Match', 'If-None-Match'),
    fc.constantFrom(
      '"1"',
      '"seq-1"',
      '*',
      'W/"1"',
      '1',
      '""',
      '"seq-99999999999999999999"',
      '"1", "2"',
      '"-1"',
      '"1e3"',
      '\xff',
      '"seq--1"',
      ',',
    ),
  ),
  fc.tuple(
    fc.constant('Authorization'),
    fc.constantFrom(
      '',
      'Bearer',
      'Bearer ',
      'Bearer x',
      'Basic eDp5',
      'bearer §accessToken§',
      'Bearer §accessToken§x',
      'Bearer §refreshToken§',
      'Bearer §invitation§',
      'Bearer a.b.c',
      'Bearer \xff',
      `Bearer ${'a'.repeat(5000)}`,
    ),
  ),
  fc.tuple(
    fc.constant('Content-Type'),
    fc.constantFrom(
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'multipart/form-data',
      'application/json; charset=utf-16',
      'application/merge-patch+json',
      'APPLICATION/JSON',
      '',
      ';',
      '\xff',
      'application/octet-stream',
    ),
  ),
  fc.tuple(
    fc.constant('X-Request-Id'),
    fc.constantFrom(
      'well-formed-request-id',
      '',
      'short',
      'with space in it',
      '\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9',
      'x'.repeat(4000),
      '<script>alert(1)</script>',
      "'; drop table users",
    ),
  ),
  fc.tuple(
    fc.constant('X-Forwarded-For'),
    fc.constantFrom('1.2.3.4', 'x', '::1, ::2', '\xff', ','.repeat(500)),
  ),
  fc.constantFrom<[string, string]>(
    ...([
      ['Accept-Encoding', 'gzip, br;q=0'],
      ['Accept-Encoding', '*;q=x'],
      ['Accept', 'text/html'],
      ['Accept', '\xff'],
    ] as [string, string][]),
    ...([
      ['Content-Encoding', 'gzip'],
      ['Content-Encoding', 'br'],
      ['Range', 'bytes=0-1'],
      ['Range', 'bytes=9-1,-5'],
    ] as [string, string][]),
    ...([
      ['Expect', '100-continue'],
      ['Expect', 'tea'],
      ['Upgrade', 'websocket'],
      ['Cookie', '\xff=;;'],
      ['Origin', 'https://evil.example'],
    ] as [string, string][]),
    ...([
      ['If-Modified-Since', 'yesterday'],
      ['X-Big', 'x'.repeat(12_000)],
      ['Host', 'evil.example'],
      ['X-HTTP-Method-Override', 'DELETE'],
    ] as [string, string][]),
  ),
)

const methods = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'TRACE', 'POST', 'PATCH', 'DELETE']

/** One request in four means well, so that what lies behind the door is reached too. */
export function fuzzRequest(routes: readonly FuzzRoute[]): fc.Arbitrary<FuzzRequest> {
  return fc
    .constantFrom(...routes)
    .chain((route) =>
      fc.oneof(
        { weight: 3, arbitrary: wildRequest(route) },
        { weight: 1, arbitrary: ordinaryRequest(route) },
      ),
    )
}

const wildRequest = (route: FuzzRoute): fc.Arbitrary<FuzzRequest> =>
  fc.record({
    route: fc.constant(route),
    method: fc.oneof(
      { weight: 15, arbitrary: fc.constant(route.method) },
      { weight: 1, arbitrary: fc.constantFrom(...methods) },
    ),
    caller: fc.constantFrom(...callers),
    parameters: fc.array(parameter, { minLength: 2, maxLength: 2 }),
    query,
    headers: fc
      .tuple(
        fc.nat(9),
        fc.oneof(
          { weight: 2, arbitrary: fc.constant([]) },
          { weight: 1, arbitrary: fc.array(header, { maxLength: 2 }) },
        ),
      )
      .map(([n, more]): [string, string][] => [...(n === 0 ? [] : [contentType]), ...more]),
    body: bodyOf(route),
  })

const ordinaryRequest = (route: FuzzRoute): fc.Arbitrary<FuzzRequest> =>
  fc.record({
    route: fc.constant(route),
    method: fc.constant(route.method),
    caller: fc.constantFrom(...callers),
    parameters: fc.constant(
      [...route.path.matchAll(/([\w-]+)\/:\w+/g)].map(([, kind]) => thingOf[kind ?? ''] ?? '§list§'),
    ),
    query: fc.constantFrom('', '', '?limit=2', '?cursor=§cursor§', '?since=0'),
    headers: fc
      .constantFrom(null, null, '"1"', '"seq-1"', '"7"')
      .map((version): [string, string][] => [contentType, ...(version ? [ifMatch(version)] : [])]),
    body: fc.constant(
      route.example === null
        ? null
        : {
            text: json(plausible(route.example)),
            bytes: new Uint8Array(),
            encoding: 'utf8' as const,
            chunked: false,
          },
    ),
  })

const contentType: [string, string] = ['Content-Type', jsonType]
const ifMatch = (version: string): [string, string] => ['If-Match', version]
const thingOf: Record<string, string> = {
  'shopping-lists': '§list§',
  items: '§item§',
  members: '§viewer§',
  users: '§stranger§',
  tenants: '§tenant§',
  sessions: '§session§',
}
