/** No body or query can set an undocumented field or reach a prototype. */
import { expect, test } from 'bun:test'
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core'
import * as schema from '../../../src/db/schema.ts'
import { isRecord } from '../../support/json-schema.ts'
import { describeService } from '../../support/server.ts'
import {
  bodyRoutes,
  bodyTextOf,
  inputRoutes,
  jsonType,
  propertiesOf,
  type Schema,
  send,
  settingOf,
  stateOf,
} from './routes.ts'

const columns = Object.values(schema).flatMap((table) =>
  table instanceof PgTable ? getTableConfig(table).columns.map(({ name }) => name) : [],
)
const innerSchema = ({ items, ...own }: Schema): Schema => (isRecord(items) ? items : own)
const fieldsOf = (schemas: readonly Schema[]): string[] =>
  Object.entries(propertiesOf(schemas)).flatMap(([name, inner]) => [name, ...fieldsOf([innerSchema(inner)])])
const everyField = [
  ...new Set([...columns, ...bodyRoutes.flatMap(({ schemas }) => fieldsOf(schemas))]),
].sort()

/** A value that would do damage if the field were honoured. */
function harmfulValue(name: string): unknown {
  if (/^(is_|email_verified)/.test(name)) return true
  if (/(^seq|version|epoch|count|quantity)$/.test(name)) return 99
  if (/(^|_)id$|^(added|updated|purchased|created)_by$/.test(name)) return '§owner§'
  if (/(^|_)at$/.test(name)) return '2020-01-01T00:00:00.000Z'
  return name === 'role' ? 'super_admin' : 'x'
}

interface Place {
  /** Prefix of the place in the body: `admin.` or nothing. */
  prefix: string
  schemas: Schema[]
  /** The body with extra fields at this place. */
  withMore: (more: object) => unknown
}

function placesOf({ example, schemas }: (typeof bodyRoutes)[number]): Place[] {
  const body = example ?? {}
  const top = { prefix: '', schemas, withMore: (more: object) => ({ ...body, ...more }) }
  const inner = Object.entries(propertiesOf(schemas)).flatMap(([name, property]): Place[] => {
    const at = innerSchema(property)
    if (!isRecord(at['properties'])) return []
    const many = property['type'] === 'array'
    const base = body[name] ?? { name: 'One of many' }
    return [
      {
        prefix: many ? `${name}.0.` : `${name}.`,
        schemas: [at],
        withMore: (more) => {
          const value = { ...(isRecord(base) ? base : {}), ...more }
          return many ? { [name]: [value] } : { ...body, [name]: value }
        },
      },
    ]
  })
  return [top, ...inner]
}

const inBatches = <T>(all: readonly T[], size: number): T[][] =>
  all.length === 0 ? [] : [all.slice(0, size), ...inBatches(all.slice(size), size)]

const shared = (): string[] => [
  ...Reflect.ownKeys(Object.prototype).map(String),
  ...Reflect.ownKeys(Array.prototype).map(String),
]

test('the tests below cover the existing routes, columns and fields', () => {
  expect(bodyRoutes.length).toBeGreaterThan(18)
  expect(bodyRoutes.flatMap(placesOf).map(({ prefix }) => prefix)).toContain('admin.')
  expect(bodyRoutes.flatMap(placesOf).map(({ prefix }) => prefix)).toContain('items.0.')
  const sensitive =
    'id tenant_id role is_active email_verified password_hash owner_id created_by version seq token_epoch'
  for (const name of `${sensitive} session_epoch added_by created_at deleted_at user_id`.split(' '))
    expect(everyField).toContain(name)
})

describeService('no route', (backend) => {
  test('accepts a database column or a field of another route: each is refused by name and changes nothing', async () => {
    const setting = await settingOf(backend)
    const before = await stateOf(setting)
    for (const route of bodyRoutes)
      for (const { prefix, schemas, withMore } of placesOf(route)) {
        const own = Object.keys(propertiesOf(schemas))
        const foreign = everyField.filter((name) => !own.includes(name))
        for (const names of inBatches(foreign, 50)) {
          const more = Object.fromEntries(names.map((name) => [name, harmfulValue(name)]))
          const body = bodyTextOf(withMore(more), setting.world)
          const answer = await send(setting, route, { headers: jsonType, body })
          expect([answer.status, answer.code], `${route.method} ${route.target}`).toEqual([422, 'invalid'])
          const named = new Set(answer.fields)
          expect(names.filter((name) => !named.has(`${prefix}${name}`))).toEqual([])
        }
      }
    expect(await stateOf(setting)).toBe(before)
  })

  test('accepts __proto__, constructor or prototype at any level, and shared prototypes stay unchanged', async () => {
    const setting = await settingOf(backend)
    const [before, sharedBefore] = [await stateOf(setting), shared()]
    const evil = '{"role":"super_admin","polluted":true}'
    const keys = `"__proto__":${evil},"constructor":{"prototype":${evil}},"prototype":${evil}`
    for (const route of bodyRoutes)
      for (const { prefix, withMore } of placesOf(route)) {
        const text = bodyTextOf(withMore({ mark: 1 }), setting.world).replace('"mark":1', keys)
        const answer = await send(setting, route, { headers: jsonType, body: text })
        expect(answer.status, `${route.method} ${route.target}`).toBe(422)
        for (const name of ['__proto__', 'constructor', 'prototype'])
          expect(answer.fields).toContain(`${prefix}${name}`)
        const alone = await send(setting, route, { headers: jsonType, body: `{"__proto__":${text}}` })
        expect([alone.status, alone.fields.includes('__proto__')]).toEqual([422, true])
      }
    expect(shared()).toEqual(sharedBefore)
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
    expect(await stateOf(setting)).toBe(before)
  })

  test('accepts a prototype, another column or an unknown name in its query', async () => {
    const setting = await settingOf(backend)
    const sharedBefore = shared()
    const names = [
      ...['__proto__', '__proto__[polluted]', '__proto__.polluted', 'constructor[prototype][polluted]'],
      ...['constructor', 'constructor.prototype.polluted', 'tenant_id', 'tid', 'user_id', 'order', 'a[]'],
    ]
    const routes = inputRoutes.filter(({ method, query }) => method === 'GET' && query.length > 0)
    expect(routes.length).toBeGreaterThan(5)
    for (const route of routes)
      for (const name of names) {
        const answer = await send(setting, route, { query: `?${encodeURIComponent(name)}=true` })
        expect([answer.status, answer.fields], `${route.target} ${name}`).toEqual([422, [name]])
        expect((await send(setting, route, { query: `?${name}=true` })).fields).toEqual([name])
      }
    expect(shared()).toEqual(sharedBefore)
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })
})
