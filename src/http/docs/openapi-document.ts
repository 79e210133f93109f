/**
 * What the swagger plugin makes of the routes is a start: it lists three media types for each body, copies schemas
 * instead of naming them and knows no examples. This turns its output into the published OpenAPI 3.1 document.
 */
import type { TSchema } from 'elysia'
import { exampleOf } from './openapi-examples.ts'
import { requestExampleKey } from './openapi-operation.ts'
import {
  collectSchemas,
  isJsonObject,
  type Json,
  type JsonObject,
  mapObject,
  objectIn,
  type SchemaCollector,
} from './openapi-schemas.ts'

/**
 * @param raw the plugin's document.
 * @param description the document's own, in Markdown.
 * @param extra schemas with a `$id` that routes refer to without holding them.
 * @throws Error when two different schemas carry the same `$id`.
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
    description: 'Names this request in the logs. A well-formed `X-Request-Id` of the caller is kept.',
    schema: { type: 'string' },
  },
  RateLimit: {
    description:
      'How each limit stands that this request was counted against: `r` more calls now, one more in `t` seconds. ' +
      'Absent where limits are off.',
    schema: { type: 'string' },
    example: '"auth-address";r=8;t=6, "auth-account";r=9;t=6',
  },
  'RateLimit-Policy': {
    description: 'Those limits themselves: `q` calls in `w` seconds.',
    schema: { type: 'string' },
    example: '"auth-address";q=10;w=60, "auth-account";q=10;w=60',
  },
  'RateLimit-Limit': count('Of the limit nearest its end: its calls.'),
  'RateLimit-Remaining': count('Of the limit nearest its end: calls left now.'),
  'RateLimit-Reset': count('Of the limit nearest its end: seconds until there is one call more.'),
}

function count(description: string): JsonObject {
  return { description, schema: { type: 'integer', minimum: 0 } }
}

function finishPaths(paths: JsonObject, schemas: SchemaCollector): JsonObject {
  const merged: JsonObject = {}
  for (const [path, operations] of Object.entries(paths)) {
    // A group's own root comes out as `/users/`, which the router answers at `/users`.
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
    // The plugin repeats the schema's list of examples where a map of Example Objects belongs; the schema keeps it.
    const { examples: _, ...given } = parameter
    const name = String(parameter['name'])
    const description = parameter['description'] ?? describeParameter(name, path) ?? fromSchema ?? name
    return { ...given, description, schema: shown }
  })
}

const parameterDescriptions: Record<string, string> = {
  limit: 'How many to answer at most; 50 unless told.',
  cursor: 'The `next_cursor` of the page before.',
  search: 'Only what has this text in a name or address.',
  since: 'The last `seq` you have seen.',
  is_active: 'Only active ones, or only deactivated ones.',
  role: 'Only users of this role.',
  status: 'Only items of this status.',
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

/** An operation that may answer 412 or 304 takes the header that asks for it. */
function conditionalHeaders(operation: JsonObject): JsonObject[] {
  const responses = objectIn(operation, 'responses')
  const header = (name: string, description: string): JsonObject => ({
    in: 'header',
    name,
    required: false,
    description,
    schema: { type: 'string' },
  })
  return [
    ...(responses['412'] ? [header('If-Match', 'Only if it is still at this `ETag`, like `"3"`.')] : []),
    ...(responses['304']
      ? [header('If-None-Match', 'Answers 304 if it is still at this `ETag`, or for `*` at any.')]
      : []),
  ]
}

function finishBody(body: JsonObject, example: Json | undefined, schemas: SchemaCollector): JsonObject {
  const [first] = Object.values(objectIn(body, 'content'))
  const given = isJsonObject(first) ? objectIn(first, 'schema') : {}
  // Of a route that takes none, and whose schema only refuses what comes all the same.
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
