/** Hostile messages generated from the protocol's own schemas: for each field of each type, values it must refuse. */
import { ClientMessage } from '../../src/realtime/protocol.ts'
import { isRecord } from './json-schema.ts'

type Type = ClientMessage['type']
type Fields = Record<string, unknown>

/** The protocol's table of what clients send. */
export const messageTypes: readonly Type[] = ClientMessage.anyOf.map(
  ({ properties }) => properties.type.const,
)

/** The schemas of a type's payload fields, by name. */
export function fieldsOf(type: Type): Record<string, Fields> {
  const schema = ClientMessage.anyOf.find(({ properties }) => properties.type.const === type)
  const payload: unknown = schema?.properties.payload
  const fields = isRecord(payload) ? (payload['properties'] ?? {}) : undefined
  if (!isRecord(fields)) throw new Error(`the payload of ${type} is not described by its fields`)
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => {
      if (!isRecord(field)) throw new Error(`${type}.${name} has no schema`)
      return [name, field]
    }),
  )
}

/** Fields that hold an id of something. */
export const idFieldsOf = (type: Type): string[] =>
  Object.entries(fieldsOf(type)).flatMap(([name, { pattern }]) =>
    typeof pattern === 'string' && pattern.includes('a-f') ? [name] : [],
  )

/** As JSON texts, because `JSON.stringify` cannot produce all of them. */
const wrongForAny = ['null', 'true', '[]', '{}', '[1]', '{"$ne":null}', '{"__proto__":{"x":1}}', '""']
const wrongNumbers = [
  '-1',
  '1.5',
  '1e-7',
  '1e400',
  '-1e400',
  '9007199254740993',
  '1e300',
  '"1"',
  '"NaN"',
  '"0x10"',
]
const wrongMarks = ['', '.', '.9f3ac01', '.9f3ac01bb', '.9F3AC01B', '-9f3ac01b', '.9f3ac01b\\n']
const wrongByType: Record<string, readonly string[]> = {
  string: ['7', '-1.5', '1e400', '["a"]'],
  integer: wrongNumbers,
  'integer or string': [
    ...wrongNumbers,
    ...wrongMarks.map((mark) => `"7${mark}"`),
    '"0.9f3ac01b"',
    '"07.9f3ac01b"',
  ],
}
const wrongIds = [
  '"groceries"',
  '"01980000-0000-7000-8000-00000000000"',
  '"01980000-0000-7000-8000-0000000000000"',
  '"{01980000-0000-7000-8000-000000000000}"',
  '" 01980000-0000-7000-8000-000000000000"',
  '"01980000-0000-7000-8000-000000000000\\n"',
  '"01980000-0000-7000-8000-000000000000\\u0000"',
  '"01980000-0000-7000-8000-00000000000\\ud800"',
  '"\\uff1001980000-0000-7000-8000-00000000000"',
  '"*"',
  '"list:01980000-0000-7000-8000-000000000000:01980000-0000-7000-8000-000000000000"',
  `"' or 1=1 --"`,
]

/** A field that takes one of several kinds has them all. */
function kindOf({ type, anyOf }: Fields): string {
  const kinds = Array.isArray(anyOf) ? anyOf.map((branch) => String(branch.type)) : [String(type)]
  return kinds.toSorted().join(' or ')
}

/** @throws Error for a kind of field without hostile values: add some here */
function wrongValues(type: Type, name: string, schema: Fields): string[] {
  const kind = kindOf(schema)
  const own = wrongByType[kind]
  if (!own) throw new Error(`there are no hostile values for ${type}.${name}, which is a ${kind}`)
  const long =
    typeof schema['maxLength'] === 'number' ? [JSON.stringify('x'.repeat(schema['maxLength'] + 1))] : []
  // An empty string is valid where any string is.
  const any = long.length > 0 ? wrongForAny.filter((value) => value !== '""') : wrongForAny
  return [...any, ...own, ...long, ...(idFieldsOf(type).includes(name) ? wrongIds : [])]
}

export interface Hostile {
  name: string
  /** The frame without its outer braces and id. */
  body: string
}

/** Every message of this type that must be refused as `invalid_message`. @param sound a valid payload */
export function malformed(type: Type, sound: Fields): Hostile[] {
  const head = `"type":"${type}"`
  const withPayload = (payload: string): string => `${head},"payload":${payload}`
  const good = JSON.stringify(sound)
  const inside = good.slice(1, -1)
  const also = (extra: string): string => withPayload(`{${[inside, extra].filter(Boolean).join(',')}}`)
  const fields = Object.entries(fieldsOf(type))
  const required = fields.filter(([name]) => name in sound).map(([name]) => name)
  const payloads = ['null', 'true', '7', '"x"', '[]', `[${good}]`, JSON.stringify(good)]
  return [
    ...payloads.map((payload) => ({ name: `payload ${payload}`, body: withPayload(payload) })),
    ...(required.length > 0 ? [{ name: 'no payload', body: head }] : []),
    ...required.map((name) => ({
      name: `no ${name}`,
      body: withPayload(JSON.stringify({ ...sound, [name]: undefined })),
    })),
    ...fields.flatMap(([name, schema]) =>
      wrongValues(type, name, schema).map((value) => ({
        name: `${name} ${value.slice(0, 60)}`,
        body: withPayload(JSON.stringify({ ...sound, [name]: '\u0007' }).replace('"\\u0007"', () => value)),
      })),
    ),
    ...['extra', '__proto__', 'constructor', 'toString', 'tenant_id', 'user_id', 'role'].flatMap((name) => [
      { name: `${name} in the payload`, body: also(`"${name}":{"isAdmin":true}`) },
      { name: `${name} beside the payload`, body: `${withPayload(good)},"${name}":{"isAdmin":true}` },
    ]),
    { name: 'a payload twice, the last bad', body: `${withPayload(good)},"payload":[]` },
    { name: 'a deep payload', body: withPayload(`${'['.repeat(7000)}${']'.repeat(7000)}`) },
    { name: 'a deep field', body: also(`"x":${'{"x":'.repeat(2000)}1${'}'.repeat(2000)}`) },
  ]
}
