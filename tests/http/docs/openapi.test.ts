import { describe, expect, test } from 'bun:test'
import { Elysia, t } from 'elysia'
import { openapi, openapiDocument } from '../../../src/http/docs/openapi.ts'
import { finishDocument } from '../../../src/http/docs/openapi-document.ts'
import { operation } from '../../../src/http/docs/openapi-operation.ts'
import { isRecord } from '../../support/json-schema.ts'
import { demoApi } from './demo-api.ts'
import { openapiFaults } from './openapi-faults.ts'

const document = await openapiDocument(demoApi('https://shop.example.com'))
const at = (...keys: string[]): unknown =>
  keys.reduce<unknown>((place, key) => (isRecord(place) ? place[key] : undefined), document)
const objectAt = (...keys: string[]): Record<string, unknown> => {
  const found = at(...keys)
  if (!isRecord(found)) throw new Error(`the document has no object at ${keys.join(' ')}`)
  return found
}
const items = '/api/v1/items'

describe('the document', () => {
  test('is complete and valid', () => {
    expect(openapiFaults(document)).toEqual([])
  })

  test("has every route that is not hidden, a group's root without a trailing slash", () => {
    expect(Object.keys(objectAt('paths')).sort()).toEqual([items, `${items}/{id}`, '/healthz'])
    expect(Object.keys(objectAt('paths', items))).toEqual(['get', 'post'])
  })

  test('requires a token except for public operations', () => {
    expect(at('paths', '/healthz', 'get', 'security')).toEqual([])
    expect(at('paths', '/healthz', 'get', 'responses', '401')).toBeUndefined()
    expect(at('paths', items, 'post', 'security')).toEqual([{ bearerAuth: [] }])
  })

  test('defines a schema with an $id once and refers to it', () => {
    expect(at('components', 'schemas', 'ItemPage', 'properties', 'data', 'items')).toEqual({
      $ref: '#/components/schemas/Item',
    })
    expect(JSON.stringify(document)).not.toContain('"$id"')
  })

  test("takes bodies as JSON only, with the route's example", () => {
    const content = objectAt('paths', items, 'post', 'requestBody', 'content')
    expect(Object.keys(content)).toEqual(['application/json'])
    expect(content['application/json']).toHaveProperty('example', { name: 'Milk', quantity: 2 })
    expect(JSON.stringify(document)).not.toContain('x-request-example')
  })

  test('shows numbers as numbers, constants as an enum, and no default for required fields', () => {
    const properties = objectAt('components', 'schemas', 'Item', 'properties')
    expect(properties).toMatchObject({
      version: { type: 'integer', minimum: 1 },
      status: { type: 'string', enum: ['pending', 'purchased'] },
    })
    expect(properties['quantity']).not.toHaveProperty('default')
    expect(JSON.stringify(document)).not.toContain('"nullable"')
  })

  test('merges errors of one status, with an example for each code', () => {
    const conflict = at('paths', items, 'post', 'responses', '409', 'content', 'application/problem+json')
    expect(conflict).toMatchObject({
      schema: { $ref: '#/components/schemas/Problem' },
      examples: {
        id_conflict: { value: { code: 'id_conflict', status: 409 } },
        id_deleted: { value: { code: 'id_deleted', status: 409 } },
      },
    })
    const statuses = Object.keys(objectAt('paths', items, 'post', 'responses'))
    expect(statuses).toEqual(['200', '201', '400', '401', '409', '413', '415', '422', '429', '503'])
  })

  test('documents ETag where an answer has a version, and If-Match where 412 is possible', () => {
    expect(at('paths', items, 'post', 'responses', '201', 'headers')).toHaveProperty('ETag')
    expect(at('paths', items, 'get', 'responses', '200', 'headers')).not.toHaveProperty('ETag')
    expect(at('paths', `${items}/{id}`, 'delete', 'parameters')).toContainEqual(
      expect.objectContaining({ in: 'header', name: 'If-Match' }),
    )
    expect(at('paths', items, 'get', 'parameters')).not.toContainEqual(
      expect.objectContaining({ name: 'If-Match' }),
    )
  })

  test('names the current server and the public one', () => {
    expect(at('servers')).toMatchObject([{ url: '/' }, { url: 'https://shop.example.com' }])
  })

  test("turns a field's error message into its description", () => {
    const field = { type: 'string', expects: 'must be text' }
    const body = { type: 'object', properties: { expects: field, default: field } }
    const raw = { paths: { '/a': { post: { requestBody: { content: { any: { schema: body } } } } } } }
    const shown = finishDocument(raw, 'About', [])
    expect(JSON.stringify(shown)).toContain(
      '"properties":{"expects":{"type":"string","description":"Must be text."},' +
        '"default":{"type":"string","description":"Must be text."}}',
    )
  })
})

test('two different schemas under one $id are refused', () => {
  const named = (schema: object) => ({ responses: { 200: { content: { 'application/json': { schema } } } } })
  const one = t.Object({ a: t.String() }, { $id: 'Same' })
  const other = t.Object({ b: t.String() }, { $id: 'Same' })
  expect(() => finishDocument({ paths: { '/a': { get: named(one) } } }, '', [one])).not.toThrow()
  expect(() => finishDocument({ paths: { '/a': { get: named(other) } } }, '', [one])).toThrow('Same')
})

test('an example is generated where none is given, and is valid by its schema', async () => {
  const Deep = t.Object({
    ids: t.Array(t.String({ format: 'uuid' }), { minItems: 1 }),
    when: t.Nullable(t.String({ format: 'date-time' })),
    kind: t.UnionEnum(['b', 'a']),
    fixed: t.Literal(7),
    long: t.String({ minLength: 9 }),
    count: t.Integer({ minimum: 5, maximum: 6 }),
  })
  const ok = { status: 200, description: 'Done.', schema: Deep }
  const app = new Elysia()
    .use(openapi({ version: '1' }))
    .post('/deep', () => 'x', operation({ body: Deep }, { summary: 'Deep', tag: 'Items', id: 'deep', ok }))
  expect(openapiFaults(await openapiDocument(app))).toEqual([])
})

describe('the check itself', () => {
  /** The faults of a copy in which the part at `keys` is replaced or removed. */
  function faultsWith(keys: string[], value?: unknown): string[] {
    const copy = structuredClone(document)
    const last = keys.at(-1) ?? ''
    const holder = keys
      .slice(0, -1)
      .reduce<unknown>((place, key) => (isRecord(place) ? place[key] : null), copy)
    if (!isRecord(holder)) throw new Error(`the document has no ${keys.join(' ')}`)
    holder[last] = value
    if (value === undefined) delete holder[last]
    return openapiFaults(copy)
  }
  const post = ['paths', items, 'post']
  const example = [...post, 'requestBody', 'content', 'application/json', 'example']

  interface Break {
    what: string
    keys: string[]
    value?: unknown
    fault: string
  }
  const operationOfItem = ['paths', `${items}/{id}`, 'delete']
  const breaks: Break[] = [
    { what: 'a missing summary', keys: [...post, 'summary'], fault: `POST ${items}: has no summary` },
    {
      what: 'a repeated id',
      keys: [...post, 'operationId'],
      value: 'listItems',
      fault: 'listItems: is not unique',
    },
    {
      what: 'an example that does not fit',
      keys: example,
      value: { name: '' },
      fault: 'must match a schema in anyOf',
    },
    {
      what: 'a foreign field',
      keys: example,
      value: { name: 'Milk', colour: 'white' },
      fault: 'must match a schema in anyOf',
    },
    { what: 'a missing example', keys: example, fault: 'request application/json has no example' },
    {
      what: 'a dangling reference',
      keys: ['components', 'schemas', 'Item'],
      fault: 'no #/components/schemas/Item',
    },
    {
      what: 'an undocumented parameter',
      keys: [...operationOfItem, 'parameters'],
      fault: 'parameter id is not',
    },
    {
      what: 'a tag nobody describes',
      keys: [...post, 'tags'],
      value: ['Odd'],
      fault: 'tag Odd is not described',
    },
    { what: 'a locked route without 401', keys: [...post, 'responses', '401'], fault: 'documents no 401' },
    { what: 'no success', keys: [...operationOfItem, 'responses'], value: {}, fault: 'documents no success' },
  ]
  test.each(breaks)('sees $what', ({ keys, value, fault }) => {
    expect(faultsWith(keys, value).join('\n')).toContain(fault)
  })
})
