/** Values, ids and words that have broken programs before. `§name§` is a placeholder (world.ts). */
import fc from 'fast-check'

export const things = [
  'list',
  'item',
  'owner',
  'editor',
  'viewer',
  'stranger',
  'tenant',
  'session',
  'deleted',
]

export const foreign = ['otherList', 'otherItem', 'otherUser', 'otherTenant', 'missing']

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
  ...'null true NaN __proto__ constructor 0x10 1e309 -0 2026-11-22T10:00:00.000Z a0 zz a00'.split(' '),
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

export const nastyString = fc.oneof(
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

export const nastyValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 5, arbitrary: nastyString },
  { weight: 3, arbitrary: fc.constantFrom<unknown>(...numbers, null, true, false, [], {}, [null], [[]]) },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom(3, 50, 5000).map(deep) },
)

export const nastyKey = fc.oneof(
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
