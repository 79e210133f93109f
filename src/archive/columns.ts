/** The kinds of value in an archive's rows: what each may be, and how the database writes it without losing anything. */
import { Kind, type TSchema, Type, TypeRegistry } from '@sinclair/typebox'
import { isPosition } from '../lib/position.ts'

export interface Column {
  /** Its `expects` completes the sentence "<column> …". */
  readonly schema: TSchema
  /** SQL of its value in an archive, of the column's name. */
  readonly written: (column: string) => string
}

const asItIs = (column: string): string => column

const matching = (pattern: RegExp, expects: string, written = asItIs): Column => ({
  schema: Type.RegExp(pattern, { expects }),
  written,
})

export const uuid = matching(
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  'must be a UUID in lower case',
)

/** Columns of time hold milliseconds, so this loses nothing, and no session's time zone shows in it. */
export const time = matching(
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  'must be a time like 2026-11-22T07:00:00.000Z',
  (column) => `wire_time(${column})`,
)

/** As text: a number of JSON may be read as a binary one on the way. */
export const decimal = matching(
  /^\d{1,7}\.\d{3}$/,
  'must be a number with 3 decimal places, as text',
  (column) => `${column}::text`,
)

/** Of that many code points, without control characters; newlines are fine where `lines` says so. */
export const text = (min: number, max: number, { lines = false } = {}): Column =>
  matching(
    new RegExp(`^(?:\\P{Cc}${lines ? '|\\n' : ''}){${min},${max}}$`, 'u'),
    `must be text of ${min} to ${max} characters${lines ? '' : ' in one line'}`,
  )

export const slug = matching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'must be a slug')

/** What a pattern alone cannot tell. */
function checked(name: string, expects: string, check: (value: string) => boolean): Column {
  const kind = `MiniMart:Archived${name}`
  TypeRegistry.Set(kind, (_schema, value) => typeof value === 'string' && check(value))
  return { schema: Type.Unsafe<string>({ [Kind]: kind, expects }), written: asItIs }
}

/** Some capital letters have no small one. */
export const email = checked(
  'Email',
  'must be an e-mail address in lower case',
  (value) => /^[^\s@]{1,64}@[^\s@]{1,252}$/u.test(value) && value === value.toLowerCase(),
)

export const position = checked('Position', 'must be a fractional-index key', isPosition)

/** The words before and after a point that name an action of the audit trail. */
export const action = matching(/^[a-z_]{1,32}\.[a-z_]{1,64}$/, 'must be the name of an action')

const argon2id =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,4}),t=([1-4]),p=([1-4])\$[A-Za-z0-9+/]{21}[AQgw]\$[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$/
const maxKibibytes = 65_536

/**
 * Argon2id with a salt of 16 bytes and a hash of 32, at a cost that a server can afford: what is hashed at sign-in is
 * decided here, by whoever wrote the archive. Less memory than 8 KiB a lane (RFC 9106) is an error at every sign-in.
 */
export const passwordHash = checked(
  'PasswordHash',
  `must be an argon2id hash with m up to ${maxKibibytes} and t and p up to 4`,
  (value) => {
    const [, memory, , lanes] = argon2id.exec(value) ?? []
    return Number(memory) >= 8 * Number(lanes) && Number(memory) <= maxKibibytes
  },
)

export const integer = (minimum: number, maximum = 2 ** 31 - 1): Column => ({
  schema: Type.Integer({ minimum, maximum, expects: `must be a whole number from ${minimum}` }),
  written: asItIs,
})

export const boolean: Column = {
  schema: Type.Boolean({ expects: 'must be true or false' }),
  written: asItIs,
}

export const oneOf = (...words: string[]): Column => ({
  schema: Type.Union(
    words.map((word) => Type.Literal(word)),
    { expects: `must be ${words.join(' or ')}` },
  ),
  written: asItIs,
})

export const json: Column = {
  schema: Type.Object({}, { additionalProperties: true, expects: 'must be an object' }),
  written: asItIs,
}

export const orNull = ({ schema, written }: Column): Column => ({
  schema: Type.Union([schema, Type.Null()], { expects: `${schema['expects']}, or null` }),
  written,
})
