/** The types of columns in an archive: their schema, and how the database writes them without loss. */

import { Kind, type TSchema, Type, TypeRegistry } from '@sinclair/typebox'
import { isEmail, slugPattern, uuidPattern } from '../lib/patterns.ts'
import { isPosition } from '../lib/position.ts'

export interface Column {
  /** With `expects`, which completes the sentence "<column> …". */
  readonly schema: TSchema
  /** The SQL expression of its value in an archive. */
  readonly written: (column: string) => string
}

const asItIs = (column: string): string => column

const matching = (pattern: RegExp, expects: string, written = asItIs): Column => ({
  schema: Type.RegExp(pattern, { expects }),
  written,
})

export const uuid = matching(uuidPattern, 'must be a UUID in lower case')

/** Lossless, since columns of time hold milliseconds, and independent of the session's time zone. */
export const time = matching(
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  'must be a time like 2026-11-22T07:00:00.000Z',
  (column) => `wire_time(${column})`,
)

/** As text: JSON readers may turn a number into a binary floating-point one. */
export const decimal = matching(
  /^\d{1,7}\.\d{3}$/,
  'must be a number with 3 decimal places, as text',
  (column) => `${column}::text`,
)

/** From `min` to `max` code points without control characters; newlines only with `lines`. */
export const text = (min: number, max: number, { lines = false } = {}): Column =>
  matching(
    new RegExp(`^(?:\\P{Cc}${lines ? '|\\n' : ''}){${min},${max}}$`, 'u'),
    `must be text of ${min} to ${max} characters${lines ? '' : ' in one line'}`,
  )

/** lib/history-position.ts */
export const mark = matching(/^[0-9a-f]{8}$/, 'must be 8 hex digits')

export const sha256 = matching(/^[0-9a-f]{64}$/, 'must be 64 hex digits')

export const slug = matching(slugPattern, 'must be a slug')

/** For what a pattern alone cannot check. */
function checked(name: string, expects: string, check: (value: string) => boolean): Column {
  const kind = `MiniMart:Archived${name}`
  TypeRegistry.Set(kind, (_schema, value) => typeof value === 'string' && check(value))
  return { schema: Type.Unsafe<string>({ [Kind]: kind, expects }), written: asItIs }
}

/** Compared with its lower case, since some capital letters have none. */
export const email = checked(
  'Email',
  'must be an e-mail address in lower case',
  (value) => isEmail(value) && value === value.toLowerCase(),
)

export const position = checked('Position', 'must be a fractional-index key', isPosition)

/** Such as `tenant.exported`. */
export const action = matching(/^[a-z_]{1,32}\.[a-z_]{1,64}$/, 'must be the name of an action')

const argon2id =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,4}),t=([1-4]),p=([1-4])\$[A-Za-z0-9+/]{21}[AQgw]\$[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]$/
const maxKibibytes = 65_536

/**
 * Argon2id with a salt of 16 bytes and a hash of 32. The cost is bounded because the author of the archive chooses what
 * each sign-in costs the server; below 8 KiB of memory per lane (RFC 9106, section 3.1) every sign-in would fail.
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
  schema: Type.Integer({ minimum, maximum, expects: `must be a whole number from ${minimum} to ${maximum}` }),
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

export const uuids: Column = {
  schema: Type.Array(uuid.schema, { maxItems: 5000, expects: 'must be a list of ids' }),
  written: asItIs,
}
