/**
 * The kinds of field that the API takes, each with its check and the sentence that a caller reads when it fails. Text
 * has been trimmed and NFC-normalised by http/body.ts; lengths count code points.
 */
import { Kind, type TSchema, TypeRegistry } from '@sinclair/typebox'
import { t } from 'elysia'
import { readSince } from '../lib/history-position.ts'
import { isUuid7 } from '../lib/ids.ts'
import { anyCaseUuidPattern, isEmail, maxEmailLength, slugPattern } from '../lib/patterns.ts'
import { isPosition, maxPositionLength } from '../lib/position.ts'
import { isStreamSafe, maxCombiningMarks } from '../lib/unicode.ts'

/** A string schema with a check of its own. @param expects completes the sentence "<field> …" */
function stringField(
  name: string,
  expects: string,
  check: (value: string) => boolean,
  documented: object = {},
) {
  const kind = `MiniMart:${name}`
  TypeRegistry.Set(
    kind,
    (_schema, value) => typeof value === 'string' && value.isWellFormed() && check(value),
  )
  return t.Unsafe<string>({ [Kind]: kind, type: 'string', expects, ...documented })
}

const codePoints = (value: string): number => {
  let count = 0
  for (const _ of value) count++
  return count
}

const control = /\p{Cc}/u
const controlButNewline = /[^\P{Cc}\n]/u

const textField = (min: number, max: number, forbidden: RegExp) =>
  stringField(
    `Text${min}-${max}${forbidden === control ? '' : '-lines'}`,
    `must be text of ${min} to ${max} characters without control characters${forbidden === control ? '' : ' (newlines are fine)'}`,
    (value) => !forbidden.test(value) && codePoints(value) >= min && codePoints(value) <= max,
    { minLength: min, maxLength: max },
  )

/** Optional text: left out or null for none. */
const nullable = <T extends TSchema>(schema: T) =>
  t.Optional(t.Union([schema, t.Null()], { expects: schema['expects'] }))

export const Name = textField(1, 255, control)
export const Note = nullable(textField(0, 2000, controlButNewline))
export const Unit = nullable(textField(0, 32, control))
export const Category = nullable(textField(0, 64, control))

/** Whoever validates with it gets the text in lower case. */
const lowerCased = (schema: TSchema & { static: string }) =>
  t
    .Transform(schema)
    .Decode((value) => value.toLowerCase())
    .Encode((value) => value)

/** Decoded to lower case. */
export const Email = lowerCased(
  stringField('Email', `must be an e-mail address of up to ${maxEmailLength} characters`, isEmail, {
    format: 'email',
    maxLength: maxEmailLength,
  }),
)

/** A password typed to sign in: only its length is bounded. auth/passwords.ts checks new ones. */
export const TypedPassword = stringField(
  'TypedPassword',
  'must be text of up to 1,024 characters',
  (value) => value.length <= 1024,
  { format: 'password', maxLength: 1024 },
)

export const NewPassword = stringField(
  'NewPassword',
  'must have 8 to 128 characters',
  (value) => codePoints(value) >= 8 && codePoints(value) <= 128,
  { format: 'password', minLength: 8, maxLength: 128 },
)

export const Token = stringField(
  'Token',
  'must be a token of up to 4,096 characters',
  (value) => value.length <= 4096,
  {
    maxLength: 4096,
  },
)

export const Otp = stringField(
  'Otp',
  'must be the six digits from the mail',
  (value) => /^\d{6}$/.test(value),
  {
    pattern: '^[0-9]{6}$',
    examples: ['402917'],
  },
)

export const ChosenId = stringField('ChosenId', 'must be a UUIDv7 in lower case', isUuid7, { format: 'uuid' })

/** Taken in any case, decoded to lower case. */
export const PathId = lowerCased(
  stringField('PathId', 'must be a UUID', (value) => anyCaseUuidPattern.test(value), { format: 'uuid' }),
)

export const Slug = stringField(
  'Slug',
  'must be 1 to 63 lower-case letters, digits and hyphens, not starting or ending with a hyphen',
  (value) => slugPattern.test(value),
  { maxLength: 63, pattern: slugPattern.source },
)

export const Position = stringField(
  'Position',
  `must be a fractional-index key of up to ${maxPositionLength} characters`,
  isPosition,
  { maxLength: maxPositionLength, examples: ['a0'] },
)

const quantityKind = 'MiniMart:Quantity'
TypeRegistry.Set(
  quantityKind,
  (_schema, value) =>
    typeof value === 'number' && value > 0 && value <= 1_000_000 && Number(value.toFixed(3)) === value,
)
export const Quantity = t.Unsafe<number>({
  [Kind]: quantityKind,
  type: 'number',
  exclusiveMinimum: 0,
  maximum: 1_000_000,
  expects: 'must be a number over 0, up to 1,000,000, with at most 3 decimal places',
})

/** Numbers in a query string are text; only decimal digits are accepted. */
const queryInteger = (name: string, min: number, max: number) => {
  const schema = stringField(
    `Query${name}`,
    `must be a whole number from ${min} to ${max}`,
    (value) => /^\d{1,16}$/.test(value) && Number(value) >= min && Number(value) <= max,
  )
  return { ...schema, type: 'integer', minimum: min, maximum: max }
}

export const Limit = t.Optional(queryInteger('Limit', 1, 100))
export const Since = t.Optional(
  stringField('Since', 'must be the number of an event or a position', (value) => readSince(value) !== null, {
    description: 'A position, which is exact, or the number of an event.',
    examples: ['42.9f3ac01b', '42'],
  }),
)
export const Cursor = t.Optional(
  stringField('Cursor', 'must be a next_cursor, unchanged', (value) => value.length <= 1024),
)
export const Search = t.Optional(
  stringField(
    'Search',
    `must be text of up to 255 characters, with no more than ${maxCombiningMarks} combining marks in a row`,
    (value) => isStreamSafe(value) && !control.test(value) && codePoints(value) <= 255,
  ),
)
export const QueryBoolean = t.Optional(
  t.Union([t.Literal('true'), t.Literal('false')], { expects: 'must be true or false' }),
)

const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/

export const QueryTime = t.Optional(
  stringField(
    'QueryTime',
    'must be a time like 2026-11-22T07:00:00.000Z',
    (value) => rfc3339.test(value) && !Number.isNaN(Date.parse(value)),
    { format: 'date-time' },
  ),
)
export const QueryId = t.Optional(PathId)

/** For objects: unknown fields are refused. */
export const strict = { additionalProperties: false } as const

/** For routes without a body: none, an empty one or an empty object. Anything else is refused rather than dropped. */
export const NoBody = t.Union([t.Object({}, strict), t.Null()], { documented: false })

/** The path of everything on one list. */
export const ListPath = t.Object({ id: PathId })

/** In answers, where nothing is validated. */
export const Id = t.String({ format: 'uuid' })
export const Time = t.String({ format: 'date-time' })
export const pageOf = <T extends TSchema>(schema: T) =>
  t.Object({ data: t.Array(schema), next_cursor: t.Union([t.String(), t.Null()]) })
