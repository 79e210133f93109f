/** As much of JSON Schema 2020-12 as the API document uses: enough to hold its examples against its schemas. */
type Schema = Record<string, unknown>

export const isRecord = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const known = new Set(
  [
    ['$ref', 'type', 'const', 'enum', 'anyOf', 'allOf', 'oneOf'],
    ['properties', 'required', 'additionalProperties', 'items', 'minItems', 'maxItems', 'uniqueItems'],
    ['minLength', 'maxLength', 'pattern', 'format', 'patternProperties'],
    ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
    ['title', 'description', 'default', 'example', 'examples', 'readOnly', 'writeOnly', 'deprecated'],
  ].flat(),
)

const formats: Record<string, RegExp> = {
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/,
  email: /^[^\s@]+@[^\s@]+$/,
  uri: /^[a-z][a-z\d+.-]*:\S+$/i,
  password: /^/,
}

const types: Record<string, (value: unknown) => boolean> = {
  null: (value) => value === null,
  boolean: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number',
  integer: Number.isSafeInteger,
  string: (value) => typeof value === 'string',
  array: Array.isArray,
  object: isRecord,
}

/** What is wrong with a value, each with its place; also a schema's own faults, like an unknown keyword. */
export function schemaFaults(value: unknown, schema: unknown, document: Schema, at = '$'): string[] {
  if (!isRecord(schema)) return [`${at}: the schema is no object`]
  const inner = (part: unknown, of: unknown, place: string) => schemaFaults(part, of, document, place)
  const faults = Object.keys(schema)
    .filter((keyword) => !known.has(keyword))
    .map((keyword) => `${at}: unknown schema keyword ${keyword}`)
  const { $ref, type, anyOf, oneOf, allOf, pattern, format } = schema
  if (typeof $ref === 'string') faults.push(...inner(value, resolveRef($ref, document), at))
  if (Array.isArray(allOf)) faults.push(...allOf.flatMap((part) => inner(value, part, at)))
  for (const choice of [anyOf, oneOf])
    if (Array.isArray(choice) && !choice.some((part) => inner(value, part, at).length === 0))
      faults.push(`${at}: fits none of the alternatives`)
  const allowed = [type].flat().filter((name) => typeof name === 'string')
  if (allowed.length > 0 && !allowed.some((name) => types[name]?.(value)))
    faults.push(`${at}: is not ${allowed.join(' or ')}`)
  if ('const' in schema && schema['const'] !== value) faults.push(`${at}: is not ${schema['const']}`)
  if (Array.isArray(schema['enum']) && !schema['enum'].includes(value))
    faults.push(`${at}: is not in the enum`)
  if (typeof value === 'string') {
    if (typeof pattern === 'string' && !new RegExp(pattern, 'u').test(value))
      faults.push(`${at}: does not match ${pattern}`)
    if (typeof format === 'string' && !formats[format]?.test(value)) faults.push(`${at}: is no ${format}`)
    faults.push(...outOfBounds([...value].length, schema['minLength'], schema['maxLength'], `${at}: length`))
  }
  if (typeof value === 'number') {
    faults.push(...outOfBounds(value, schema['minimum'], schema['maximum'], `${at}: value`))
    if (typeof schema['exclusiveMinimum'] === 'number' && value <= schema['exclusiveMinimum'])
      faults.push(`${at}: value is too small`)
  }
  if (Array.isArray(value)) {
    faults.push(...outOfBounds(value.length, schema['minItems'], schema['maxItems'], `${at}: length`))
    if (schema['items'] !== undefined)
      faults.push(...value.flatMap((part, index) => inner(part, schema['items'], `${at}[${index}]`)))
  }
  if (isRecord(value)) faults.push(...objectFaults(value, schema, at, inner))
  return faults
}

const outOfBounds = (size: number, min: unknown, max: unknown, what: string): string[] =>
  (typeof min === 'number' && size < min) || (typeof max === 'number' && size > max)
    ? [`${what} is out of bounds`]
    : []

function objectFaults(
  value: Schema,
  schema: Schema,
  at: string,
  inner: (part: unknown, of: unknown, place: string) => string[],
): string[] {
  const { properties, required, additionalProperties } = schema
  const named = isRecord(properties) ? properties : {}
  const missing = (Array.isArray(required) ? required : []).filter((name) => !(name in value))
  const extra = Object.keys(value).filter((name) => !(name in named))
  return [
    ...missing.map((name) => `${at}.${name}: is missing`),
    ...(additionalProperties === false ? extra.map((name) => `${at}.${name}: is not allowed`) : []),
    ...(isRecord(additionalProperties)
      ? extra.flatMap((name) => inner(value[name], additionalProperties, `${at}.${name}`))
      : []),
    ...Object.entries(named)
      .filter(([name]) => name in value)
      .flatMap(([name, part]) => inner(value[name], part, `${at}.${name}`)),
  ]
}

/** The part of the document that a local reference names, or undefined. */
export function resolveRef($ref: string, document: Schema): unknown {
  if (!$ref.startsWith('#/')) return undefined
  return $ref
    .slice(2)
    .split('/')
    .reduce<unknown>((place, key) => (isRecord(place) ? place[key] : undefined), document)
}
