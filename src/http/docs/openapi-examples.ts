/** Makes an example of a schema, for the bodies whose route gives none. */
import { isJsonObject, type Json, type JsonObject } from './openapi-schemas.ts'

const references = /^#\/components\/schemas\/(.+)$/

/** @param components the schemas that `$ref` names. A schema nested more than 12 deep gives null. */
export function exampleOf(schema: Json, components: JsonObject, name = '', depth = 0): Json {
  if (!isJsonObject(schema) || depth > 12) return null
  const deeper = (inner: Json, innerName = name) => exampleOf(inner, components, innerName, depth + 1)
  const { $ref, examples, anyOf, oneOf, allOf } = schema
  if (typeof $ref === 'string') return deeper(components[references.exec($ref)?.[1] ?? ''] ?? null)
  if (Array.isArray(examples) && examples[0] !== undefined) return examples[0]
  const [given] = [schema['example'], schema['const']].filter((value) => value !== undefined)
  if (given !== undefined) return given
  if (Array.isArray(schema['enum'])) return schema['enum'][0] ?? null
  const [alternative] = [anyOf, oneOf].filter(Array.isArray)
  if (alternative) return deeper(alternative[0] ?? null)
  if (Array.isArray(allOf)) return mergeAll(allOf.map((part) => deeper(part)))
  return typedExample(schema, name, deeper)
}

const mergeAll = (parts: Json[]): JsonObject => Object.assign({}, ...parts.filter(isJsonObject))

function typedExample(schema: JsonObject, name: string, inner: (schema: Json, name?: string) => Json): Json {
  const { type, properties, items } = schema
  switch (Array.isArray(type) ? type[0] : type) {
    case 'object':
      return isJsonObject(properties)
        ? Object.fromEntries(
            Object.entries(properties).map(([key, part]) => [
              key,
              inner(part, specificName(key, properties)),
            ]),
          )
        : {}
    case 'array':
      return items === undefined ? [] : [inner(items, name.replace(/s$/, ''))]
    case 'string':
      return exampleText(schema, name)
    case 'integer':
    case 'number':
      return exampleNumber(schema, name)
    case 'boolean':
      return true
    default:
      return null
  }
}

/** A tenant and an item have other names than a list. */
function specificName(name: string, siblings: JsonObject): string {
  if (name !== 'name') return name
  if ('slug' in siblings) return 'tenant_name'
  return 'quantity' in siblings ? 'item_name' : name
}

const numberByName: Record<string, number> = {
  expires_in: 900,
  item_count: 12,
  list_count: 4,
  member_count: 3,
  pending_count: 5,
  quantity: 2,
  seq: 42,
  user_count: 8,
  version: 3,
}

function exampleNumber({ minimum, exclusiveMinimum }: JsonObject, name: string): number {
  const named = numberByName[name]
  if (named !== undefined) return named
  if (typeof minimum === 'number') return minimum
  return typeof exclusiveMinimum === 'number' ? exclusiveMinimum + 1 : 1
}

const textByFormat: Record<string, string> = {
  'date-time': '2026-11-22T07:00:00.000Z',
  email: 'ada@example.com',
  password: 'correct horse battery',
  uri: 'https://shop.example.com/',
  uuid: '019ab3f4-7c21-7d0e-9b6a-2f5c8e1d4a70',
}

const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTlhYjNmNCJ9.c2lnbmF0dXJl'

const textByName: Record<string, string> = {
  access_token: jwt,
  address: '203.0.113.7',
  category: 'Dairy',
  current_password: 'correct horse battery',
  description: 'Everything for the week',
  email: 'ada@example.com',
  full_name: 'Ada Lovelace',
  invited_by: 'Grace Hopper',
  item_name: 'Oat milk',
  list_name: 'Weekly groceries',
  name: 'Weekly groceries',
  new_password: 'staple battery horse',
  next_cursor: 'eyJrIjoxfQ',
  note: 'The one in the blue carton',
  otp: '402917',
  password: 'correct horse battery',
  position: 'a0',
  request_id: '019ab3f4-7c21-7d0e-9b6a-2f5c8e1d4a70',
  refresh_token: 'kW3f0mJ9.Zt5q8LrVb1',
  slug: 'acme',
  tenant_name: 'Acme',
  token: jwt,
  unit: 'litre',
  url: 'https://shop.example.com/invite?token=eyJhbGciOiJIUzI1NiJ9',
}

function exampleText({ format, minLength }: JsonObject, name: string): string {
  const known = (typeof format === 'string' ? textByFormat[format] : undefined) ?? textByName[name]
  return known ?? 'text'.padEnd(typeof minLength === 'number' ? minLength : 0, 't')
}
