/** Validates values against the schemas of an API document, with Ajv. */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

type Document = Record<string, unknown>

export const isRecord = (value: unknown): value is Document =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const utcDateTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/

interface Validators {
  ajv: Ajv2020
  /** By the text of a schema, since most responses of the API share the one of an error. */
  bySchema: Map<string, ValidateFunction>
}

const byDocument = new WeakMap<Document, Validators>()

function validatorsOf(document: Document): Validators {
  const known = byDocument.get(document)
  if (known) return known
  // Unknown keywords are errors; how types are written is not checked.
  const ajv = new Ajv2020({
    ...{ allErrors: true, strictTypes: false, strictRequired: false },
    // Compiling takes longer than validating what a test sees.
    ...{ inlineRefs: false, code: { optimize: false } },
  })
  addFormats(ajv)
  // Stricter than the standard: the service writes ids in lower case and times in UTC.
  ajv.addFormat('uuid', uuid).addFormat('date-time', utcDateTime).addFormat('password', true)
  // Wider than the standard: addresses may be in any script.
  ajv.addFormat('email', /^[^\s@]+@[^\s@]+$/)
  ajv.addVocabulary(['example'])
  const { components } = document
  const named = isRecord(components) ? components['schemas'] : undefined
  ajv.addSchema(JSON.parse(standingAlone({ $id: 'document', $defs: named ?? {} })))
  const validators = { ajv, bySchema: new Map<string, ValidateFunction>() }
  byDocument.set(document, validators)
  return validators
}

/** The errors of a value, each with its path; also those of the schema, like an unknown keyword. */
export function schemaFaults(value: unknown, schema: unknown, document: Document, at = '$'): string[] {
  if (!isRecord(schema)) return [`${at}: the schema is no object`]
  const { ajv, bySchema } = validatorsOf(document)
  try {
    const text = standingAlone(schema)
    const validate = bySchema.get(text) ?? ajv.compile(JSON.parse(text))
    bySchema.set(text, validate)
    validate(value)
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) =>
        `${at}${instancePath.replaceAll('/', '.')}: ${message} ${JSON.stringify(params)}`,
    )
  } catch (error) {
    return [`${at}: ${error instanceof Error ? error.message : error}`]
  }
}

/** The text of a part of the document whose references resolve on its own. */
const standingAlone = (schema: Document): string =>
  JSON.stringify(schema).replaceAll('"$ref":"#/components/schemas/', '"$ref":"document#/$defs/')

/** The part of the document a local reference points to, or undefined. */
export function resolveRef($ref: string, document: Document): unknown {
  if (!$ref.startsWith('#/')) return undefined
  return $ref
    .slice(2)
    .split('/')
    .reduce<unknown>((place, key) => (isRecord(place) ? place[key] : undefined), document)
}
