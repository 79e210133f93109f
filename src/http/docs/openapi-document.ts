/**
 * Turns the swagger plugin's output into the published OpenAPI 3.1 document: the plugin lists three media types for each
 * body, copies schemas instead of naming them and has no examples.
 */
import type { TSchema } from 'elysia'
import { requestExampleKey } from './openapi-operation.ts'

/**
 * @param raw the plugin's document
 * @param description of the whole document, in Markdown
 * @param extra schemas with a `$id` that routes only refer to
 * @throws Error when two different schemas have the same `$id`
 */
export function finishDocument(raw: object, description: string, extra: TSchema[]): JsonObject {
  const document = toJson(raw)
  const components = objectIn(document, 'components')
  const schemas = collectSchemas()
  for (const schema of extra) schemas.show(toJson(schema))
  const ownSchemas = mapObject(objectIn(components, 'schemas'), schemas.show)
  const paths = finishPaths(objectIn(document, 'paths'), schemas)
  const named = { ...withoutSelfReferences(ownSchemas), ...schemas.components() }
  return {
    ...document,
    openapi: '3.1.0',
    // The plugin's types know OpenAPI 3.0 only, whose licences have no identifier.
    info: { ...objectIn(document, 'info'), description, license: { name: 'MIT', identifier: 'MIT' } },
    paths: eachOperation(paths, (operation) => withExamples(operation, named)),
    components: { ...components, headers: commonHeaders, schemas: named },
  }
}

const toJson = (value: object): JsonObject => JSON.parse(JSON.stringify(value))

/** A model registered under its own `$id` would otherwise be a reference to itself. */
const withoutSelfReferences = (schemas: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(schemas).filter(
      ([name, schema]) => !isJsonObject(schema) || schema['$ref'] !== `#/components/schemas/${name}`,
    ),
  )

const commonHeaders: JsonObject = {
  RequestId: {
    description: "Identifies this request in the logs. The caller's own is kept if it is well-formed.",
    schema: { type: 'string' },
  },
  RateLimit: {
    description:
      'The state of each limit that this request counted against: `r` calls left now, one more in `t` seconds. ' +
      'Absent where limits are off.',
    schema: { type: 'string' },
    example: '"auth-address";r=8;t=6, "auth-account";r=9;t=6',
  },
  'RateLimit-Policy': {
    description: 'The limits themselves: `q` calls in `w` seconds.',
    schema: { type: 'string' },
    example: '"auth-address";q=10;w=60, "auth-account";q=10;w=60',
  },
  'RateLimit-Limit': count('The calls allowed by the limit closest to running out.'),
  'RateLimit-Remaining': count('The calls left of the limit closest to running out.'),
  'RateLimit-Reset': count('Seconds until the limit closest to running out allows one more call.'),
}

function count(description: string): JsonObject {
  return { description, schema: { type: 'integer', minimum: 0 } }
}

function finishPaths(paths: JsonObject, schemas: SchemaCollector): JsonObject {
  const merged: JsonObject = {}
  for (const [path, operations] of Object.entries(paths)) {
    // The plugin writes a group's root as `/users/`; the router has it at `/users`.
    const clean = path === '/' ? path : path.replace(/\/$/, '')
    merged[clean] = { ...objectIn(merged, clean), ...(isJsonObject(operations) ? operations : {}) }
  }
  return eachOperation(merged, (operation, path) => finishOperation(operation, path, schemas))
}

const eachOperation = (
  paths: JsonObject,
  change: (operation: JsonObject, path: string) => JsonObject,
): JsonObject =>
  mapObject(paths, (operations, path) =>
    isJsonObject(operations)
      ? mapObject(operations, (operation) => (isJsonObject(operation) ? change(operation, path) : operation))
      : operations,
  )

function finishOperation(operation: JsonObject, path: string, schemas: SchemaCollector): JsonObject {
  const { requestBody, [requestExampleKey]: example, parameters: _, responses, ...rest } = operation
  const parameters = [
    ...finishParameters(operation['parameters'], path, schemas),
    ...conditionalHeaders(operation),
  ]
  return {
    ...rest,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(isJsonObject(requestBody) ? finishBody(requestBody, example, schemas) : {}),
    responses: mapObject(isJsonObject(responses) ? responses : {}, (response) =>
      finishResponse(response, schemas),
    ),
  }
}

function finishParameters(
  parameters: Json | undefined,
  path: string,
  schemas: SchemaCollector,
): JsonObject[] {
  if (!Array.isArray(parameters)) return []
  return parameters.filter(isJsonObject).map((parameter) => {
    const schema = schemas.show(parameter['schema'] ?? {})
    const { description: fromSchema, ...shown } = isJsonObject(schema) ? schema : {}
    // The plugin puts the schema's list of examples where a map of Example Objects belongs; the schema keeps it.
    const { examples: _, ...given } = parameter
    const name = String(parameter['name'])
    const description = parameter['description'] ?? describeParameter(name, path) ?? fromSchema ?? name
    return { ...given, description, schema: shown }
  })
}

const parameterDescriptions: Record<string, string> = {
  limit: 'The maximum number to return; 50 by default.',
  cursor: 'The `next_cursor` of the previous page.',
  search: 'Only those with this text in a name or address.',
  since: 'The last `seq` you have seen.',
  is_active: 'Only active ones, or only deactivated ones.',
  role: 'Only users with this role.',
  status: 'Only items with this status.',
  scope: '`all`, for a tenant admin: every list of the tenant.',
  deleted: '`true`: the deleted lists that you may restore.',
}

/** `/shopping-lists/{id}/members/{user_id}`: the id of the shopping list, the id of the user. */
function describeParameter(name: string, path: string): string | undefined {
  const segments = path.split('/')
  const before = segments[segments.indexOf(`{${name}}`) - 1]
  if (before === undefined) return parameterDescriptions[name]
  const thing = name === 'id' ? before.replace(/s$/, '') : name.replace(/_id$/, '')
  return `The id of the ${thing.replaceAll(/[-_]/g, ' ')}.`
}

/** An operation takes the header that leads to one of its answers: 412, 304, or 409 for a key. */
function conditionalHeaders(operation: JsonObject): JsonObject[] {
  const responses = objectIn(operation, 'responses')
  const header = (name: string, description: string): JsonObject => ({
    in: 'header',
    name,
    required: false,
    description,
    schema: { type: 'string' },
  })
  const conflicts = objectIn(objectIn(objectIn(responses, '409'), 'content'), 'application/problem+json')
  const takesKeys = 'idempotency_conflict' in objectIn(conflicts, 'examples')
  return [
    ...(takesKeys ? [header('Idempotency-Key', 'A UUIDv7; the call can then be repeated safely.')] : []),
    ...(responses['412'] ? [header('If-Match', 'Only if its `ETag` is still this, like `"3"`.')] : []),
    ...(responses['304']
      ? [header('If-None-Match', 'Answers 304 if its `ETag` is still this; `*` stands for any.')]
      : []),
  ]
}

function finishBody(body: JsonObject, example: Json | undefined, schemas: SchemaCollector): JsonObject {
  const [first] = Object.values(objectIn(body, 'content'))
  const given = isJsonObject(first) ? objectIn(first, 'schema') : {}
  // NoBody: the route takes no body, and the schema only refuses one.
  if (given['documented'] === false) return {}
  const media: JsonObject = { schema: schemas.show(given), ...(example === undefined ? {} : { example }) }
  return { requestBody: { ...body, content: { 'application/json': media } } }
}

function finishResponse(response: Json, schemas: SchemaCollector): Json {
  if (!isJsonObject(response)) return response
  const content = mapObject(objectIn(response, 'content'), (media) =>
    isJsonObject(media) ? { ...media, schema: schemas.show(media['schema'] ?? {}) } : media,
  )
  return {
    description: '',
    ...response,
    headers: { ...objectIn(response, 'headers'), 'X-Request-Id': { $ref: '#/components/headers/RequestId' } },
    ...(Object.keys(content).length > 0 ? { content } : {}),
  }
}

function withExamples(operation: JsonObject, components: JsonObject): JsonObject {
  const complete = (holder: Json): Json =>
    isJsonObject(holder) && isJsonObject(holder['content'])
      ? { ...holder, content: mapObject(holder['content'], completeMedia) }
      : holder
  const completeMedia = (media: Json): Json =>
    !isJsonObject(media) || media['example'] !== undefined || media['examples'] !== undefined
      ? media
      : { ...media, example: exampleOf(media['schema'] ?? {}, components) }
  const { requestBody } = operation
  return {
    ...operation,
    ...(requestBody === undefined ? {} : { requestBody: complete(requestBody) }),
    responses: mapObject(objectIn(operation, 'responses'), complete),
  }
}

type Json = null | boolean | number | string | Json[] | JsonObject
interface JsonObject {
  [key: string]: Json
}

const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const objectIn = (parent: JsonObject, key: string): JsonObject => {
  const value = parent[key]
  return isJsonObject(value) ? value : {}
}

const mapObject = (value: JsonObject, change: (entry: Json, key: string) => Json): JsonObject =>
  Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, change(entry, key)]))

interface SchemaCollector {
  /** The schema as the document shows it; one with a `$id` is collected and referred to. */
  show: (schema: Json) => Json
  components: () => JsonObject
}

/**
 * Turns JSON Schema as Elysia and TypeBox make it into what a document should show: named components instead of copies,
 * and nothing that only serves their own coercion.
 * @throws Error when two different schemas carry the same `$id`
 */
function collectSchemas(): SchemaCollector {
  const components = new Map<string, JsonObject>()

  function show(schema: Json): Json {
    if (!isJsonObject(schema)) return schema
    const { $id, ...rest } = schema
    const shown = mapObject(withoutLeftovers(rest), showKeyword)
    if (typeof $id !== 'string') return shown
    const known = components.get($id)
    if (known && JSON.stringify(known) !== JSON.stringify(shown))
      throw new Error(`Two different schemas carry the $id ${$id}`)
    components.set($id, shown)
    return { $ref: `#/components/schemas/${$id}` }
  }

  function showKeyword(value: Json, keyword: string): Json {
    if (mapsOfSchemas.has(keyword) && isJsonObject(value)) return mapObject(value, show)
    if (listsOfSchemas.has(keyword) && Array.isArray(value)) return value.map(show)
    return singleSchemas.has(keyword) ? show(value) : value
  }

  return { show, components: () => Object.fromEntries([...components].sort()) }
}

/** All schemas with a `$id` in these, themselves included, as a document's components. */
export function namedSchemas(schemas: readonly object[]): JsonObject {
  const collected = collectSchemas()
  for (const schema of schemas) collected.show(JSON.parse(JSON.stringify(schema)))
  return collected.components()
}

const mapsOfSchemas = new Set(['properties', 'patternProperties', '$defs'])
const listsOfSchemas = new Set(['anyOf', 'oneOf', 'allOf', 'prefixItems'])
const singleSchemas = new Set(['items', 'additionalProperties', 'not', 'propertyNames'])

/** `nullable` is OpenAPI 3.0's, `error` Elysia's; `expects` is our sentence for a refused field. */
function withoutLeftovers(schema: JsonObject): JsonObject {
  const { nullable: _nullable, error: _error, expects, ...rest } = simplifyUnion(schema)
  const described =
    typeof expects === 'string' && rest['description'] === undefined
      ? { ...rest, description: `${expects.charAt(0).toUpperCase()}${expects.slice(1)}.` }
      : rest
  const properties = described['properties']
  const required = described['required']
  if (!isJsonObject(properties) || !Array.isArray(required)) return described
  // A required property needs no default; Elysia's coercing types add some.
  return {
    ...described,
    properties: mapObject(properties, (property, name) =>
      required.includes(name) ? withoutDefault(property) : property,
    ),
  }
}

function withoutDefault(schema: Json): Json {
  if (!isJsonObject(schema)) return schema
  const { default: _default, ...rest } = schema
  return rest
}

const coercedFormats = new Set<Json | undefined>([
  'numeric',
  'integer',
  'boolean',
  'ObjectString',
  'ArrayString',
])

/** A number that Elysia also takes as text becomes the number; a union of constants an enum. */
function simplifyUnion(schema: JsonObject): JsonObject {
  const { anyOf, ...rest } = schema
  if (!Array.isArray(anyOf)) return schema
  const members = anyOf.filter(isJsonObject).filter(({ format }) => !coercedFormats.has(format))
  const [only] = members
  if (members.length === 1 && members.length < anyOf.length && only) return { ...rest, ...only }
  const constants = members.flatMap((member) =>
    typeof member['const'] === 'string' ? [member['const']] : [],
  )
  return constants.length === anyOf.length ? { ...rest, type: 'string', enum: constants } : schema
}

const references = /^#\/components\/schemas\/(.+)$/

/**
 * An example of a schema, for the bodies whose route gives none. Null for what is nested more than 12 deep.
 * @param components the schemas that `$ref` names
 */
function exampleOf(schema: Json, components: JsonObject, name = '', depth = 0): Json {
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

/** Tenants and items have other names than lists. */
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
