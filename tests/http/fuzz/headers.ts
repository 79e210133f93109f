/** Generated query strings and headers. */
import fc from 'fast-check'
import { nastyString } from './values.ts'

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
  ...'%00 %ff % %zz + %25 %5C %27 _ §cursor§ §otherCursor§ §cursor§x e30 AAAA 99999999999999999999 %EF%BF%BD'.split(
    ' ',
  ),
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

export const query = fc.oneof(
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

export const jsonType = 'application/json'

export const header: fc.Arbitrary<[string, string]> = fc.oneof(
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
