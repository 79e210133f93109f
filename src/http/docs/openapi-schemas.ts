/**
 * Turns the JSON Schema that Elysia and TypeBox make into what an OpenAPI 3.1 document should show:
 * named components instead of copies, and nothing that only serves their own coercion.
 */
export type Json = null | boolean | number | string | Json[] | JsonObject
export interface JsonObject {
  [key: string]: Json
}

export const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const objectIn = (parent: JsonObject, key: string): JsonObject => {
  const value = parent[key]
  return isJsonObject(value) ? value : {}
}

export const mapObject = (value: JsonObject, change: (entry: Json, key: string) => Json): JsonObject =>
  Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, change(entry, key)]))

export interface SchemaCollector {
  /** The schema as the document shows it; a schema with a `$id` is collected and referred to. */
  show: (schema: Json) => Json
  components: () => JsonObject
}

/** @throws Error when two different schemas carry the same `$id`. */
export function collectSchemas(): SchemaCollector {
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

/** The schemas that these name by their `$id`, themselves too, as a document's components. */
export function namedSchemas(schemas: readonly object[]): JsonObject {
  const collected = collectSchemas()
  for (const schema of schemas) collected.show(JSON.parse(JSON.stringify(schema)))
  return collected.components()
}

const mapsOfSchemas = new Set(['properties', 'patternProperties', '$defs'])
const listsOfSchemas = new Set(['anyOf', 'oneOf', 'allOf', 'prefixItems'])
const singleSchemas = new Set(['items', 'additionalProperties', 'not', 'propertyNames'])

/** `nullable` is OpenAPI 3.0, `error` is Elysia's; `expects` is this service's sentence for a refused field. */
function withoutLeftovers(schema: JsonObject): JsonObject {
  const { nullable: _nullable, error: _error, expects, ...rest } = simplifyUnion(schema)
  const described =
    typeof expects === 'string' && rest['description'] === undefined
      ? { ...rest, description: `${expects.charAt(0).toUpperCase()}${expects.slice(1)}.` }
      : rest
  const properties = described['properties']
  const required = described['required']
  if (!isJsonObject(properties) || !Array.isArray(required)) return described
  // What is always there needs no default; Elysia's coercing types bring some along.
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

/** A number that Elysia also takes as text is documented as the number; a union of constants as an enum. */
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
