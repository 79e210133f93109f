/** What is missing or invalid in an OpenAPI 3.1 document. */
import { isRecord, resolveRef, schemaFaults } from '../../support/json-schema.ts'

type Part = Record<string, unknown>
const methods = ['get', 'put', 'post', 'delete', 'patch', 'head', 'options', 'trace']

interface Place {
  at: string
  path: string
  operation: Part
}

export function openapiFaults(document: object): string[] {
  const root: Part = { ...document }
  const places = operations(root)
  const ids = places.map(({ operation }) => operation['operationId'])
  return [
    ...(/^3\.1\.\d+$/.test(String(root['openapi'])) ? [] : ['openapi: is not 3.1']),
    ...['title', 'version', 'description']
      .filter((key) => !text(part(root, 'info')[key]))
      .map((key) => `info.${key}: is missing`),
    ...(places.length > 0 ? [] : ['paths: has no operations']),
    ...ids.filter((id, index) => ids.indexOf(id) !== index).map((id) => `operationId ${id}: is not unique`),
    ...brokenRefs(root, root, '#'),
    ...Object.entries(part(part(root, 'components'), 'schemas')).flatMap(([name, schema]) =>
      keywordFaults(schema, root, `components.schemas.${name}`),
    ),
    ...places.flatMap((place) => operationFaults(place, root)),
  ]
}

function operations(root: Part): Place[] {
  return Object.entries(part(root, 'paths')).flatMap(([path, item]) =>
    Object.entries(isRecord(item) ? item : {}).map(([method, operation]) => ({
      at: `${method.toUpperCase()} ${path}`,
      path,
      operation: methods.includes(method) && isRecord(operation) ? operation : {},
    })),
  )
}

function operationFaults({ at, path, operation }: Place, root: Part): string[] {
  const faults = ['operationId', 'summary']
    .filter((key) => !text(operation[key]))
    .map((key) => `has no ${key}`)
  const declared = list(root['tags']).map((tag) => (isRecord(tag) ? tag['name'] : null))
  const used = list(operation['tags'])
  if (used.length === 0) faults.push('has no tag')
  faults.push(...used.filter((tag) => !declared.includes(tag)).map((tag) => `tag ${tag} is not described`))
  const parameters = list(operation['parameters']).filter(isRecord)
  const inPath = parameters.filter((parameter) => parameter['in'] === 'path')
  const wanted = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name)
  for (const name of wanted)
    if (!inPath.some((parameter) => parameter['name'] === name && parameter['required'] === true))
      faults.push(`path parameter ${name} is not documented`)
  if (inPath.length !== wanted.length) faults.push('documents a path parameter that is not in the path')
  for (const parameter of parameters)
    if (!text(parameter['description'])) faults.push(`parameter ${parameter['name']} has no description`)
  faults.push(...securityFaults(operation, root), ...bodyFaults(operation, root))
  return faults.map((fault) => `${at}: ${fault}`)
}

function securityFaults(operation: Part, root: Part): string[] {
  const security = operation['security'] ?? root['security']
  const schemes = part(part(root, 'components'), 'securitySchemes')
  const isPublic = Array.isArray(security) && security.length === 0
  return [
    ...list(security)
      .flatMap((entry) => Object.keys(isRecord(entry) ? entry : {}))
      .filter((name) => !(name in schemes))
      .map((name) => `security scheme ${name} is not declared`),
    ...(!isPublic && !('401' in part(operation, 'responses')) ? ['wants a token but documents no 401'] : []),
  ]
}

function bodyFaults(operation: Part, root: Part): string[] {
  const responses = Object.entries(part(operation, 'responses'))
  const request = part(operation, 'requestBody')
  const faults = responses.some(([status]) => /^2\d\d$/.test(status)) ? [] : ['documents no success']
  if ('requestBody' in operation) {
    const media = Object.keys(part(request, 'content'))
    if (media.join() !== 'application/json')
      faults.push(`takes ${media.join(', ') || 'nothing'}, not only JSON`)
    faults.push(...contentFaults(request, root, 'request'))
  }
  for (const [status, response] of responses) {
    if (!isRecord(response) || !text(response['description'])) faults.push(`${status} has no description`)
    if (!isRecord(response)) continue
    if (status >= '400' && Object.keys(part(response, 'content')).join() !== 'application/problem+json')
      faults.push(`${status} is no problem+json`)
    faults.push(...contentFaults(response, root, status))
  }
  return faults
}

const contentFaults = (holder: Part, root: Part, what: string): string[] =>
  Object.entries(part(holder, 'content')).flatMap(([type, media]) => {
    if (!isRecord(media)) return [`${what} ${type} is no object`]
    const examples = [
      ...('example' in media ? [media['example']] : []),
      ...Object.values(part(media, 'examples')).map((entry) =>
        isRecord(entry) ? entry['value'] : undefined,
      ),
    ]
    return [
      ...(examples.length > 0 ? [] : [`${what} ${type} has no example`]),
      ...examples.flatMap((example) => schemaFaults(example, media['schema'], root, `${what} example`)),
      ...keywordFaults(media['schema'], root, what),
    ]
  })

/** Validating any value compiles the schema, which finds unknown keywords. */
const keywordFaults = (schema: unknown, root: Part, at: string): string[] =>
  schemaFaults(undefined, schema, root, at).filter((fault) => fault.includes('unknown keyword'))

function brokenRefs(value: unknown, root: Part, at: string): string[] {
  if (Array.isArray(value)) return value.flatMap((entry, index) => brokenRefs(entry, root, `${at}/${index}`))
  if (!isRecord(value)) return []
  const { $ref } = value
  const own = typeof $ref === 'string' && resolveRef($ref, root) === undefined ? [`${at}: no ${$ref}`] : []
  return [...own, ...Object.entries(value).flatMap(([key, entry]) => brokenRefs(entry, root, `${at}/${key}`))]
}

const part = (parent: Part, key: string): Part => {
  const value = parent[key]
  return isRecord(value) ? value : {}
}
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])
const text = (value: unknown): boolean => typeof value === 'string' && value.trim() !== ''
