/** Generated bodies: as documented, mutated, or arbitrary, in several encodings. */
import fc from 'fast-check'
import { isRecord } from '../../support/json-schema.ts'
import { nastyKey, nastyValue } from './values.ts'

export interface FuzzRoute {
  method: string
  /** As in the app's route table, e.g. `/api/v1/items/:id`. */
  path: string
  /** An example of its body, if it takes one. */
  example: Record<string, unknown> | null
}

export interface FuzzBody {
  /** With placeholders; null where `bytes` is the body. */
  text: string | null
  bytes: Uint8Array
  encoding: 'utf8' | 'latin1' | 'utf16le' | 'gzip'
  chunked: boolean
}

export const json = (value: unknown): string => JSON.stringify(value) ?? 'null'

/** The documented example, with known things in place of its own. */
export function plausible(example: Record<string, unknown>): Record<string, unknown> {
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
    // Object.fromEntries makes own properties, even of `__proto__`.
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

export const bodyOf = (route: FuzzRoute): fc.Arbitrary<FuzzBody | null> => {
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
