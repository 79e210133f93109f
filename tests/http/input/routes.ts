/**
 * Every route that takes a body or a query, read from the OpenAPI document so that new ones are covered too; a role that
 * may call it; and a world to call it in.
 */
import { createDocumentedApp } from '../../../src/app.ts'
import { openapiDocument } from '../../../src/http/docs/openapi.ts'
import { isRecord } from '../../support/json-schema.ts'
import { oncePerBackend, sharedServer, type TestServer } from '../../support/server.ts'
import { json, plausible } from '../fuzz/bodies.ts'
import { digestOf, fillIn, makeWorld, type World } from '../fuzz/world.ts'

export interface InputRoute {
  method: string
  /** With placeholders of ../fuzz/world.ts: `/api/v1/items/§item§`. */
  target: string
  caller: string
  /** The documented example with placeholders; null without a body. */
  example: Record<string, unknown> | null
  /** The schemas of its body. */
  schemas: Schema[]
  /** Its query parameters. */
  query: string[]
}

export type Schema = Record<string, unknown>

export interface Setting {
  server: TestServer
  world: World
}

export const settingOf = oncePerBackend(async (backend): Promise<Setting> => {
  const server = await sharedServer(backend)
  return { server, world: await makeWorld(server) }
})

/** Calls the route as someone who may. */
export async function send(
  { server, world }: Setting,
  { method, target, caller }: InputRoute,
  {
    query = '',
    headers = {},
    body,
  }: { query?: string; headers?: Record<string, string> | [string, string][]; body?: RequestInit['body'] },
) {
  const token = world.tokens[caller] ?? ''
  const all = new Headers(headers)
  if (token !== '') all.set('authorization', `Bearer ${token}`)
  const response = await fetch(`${server.url}${fillIn(target, world.names)}${query}`, {
    method,
    headers: all,
    ...(body === undefined ? {} : { body }),
  })
  const text = await response.text()
  const answer = text.startsWith('{') ? JSON.parse(text) : {}
  const faults: { field: string }[] = answer.errors ?? []
  return { status: response.status, code: answer.code, text, fields: faults.map(({ field }) => field) }
}

export const jsonType = { 'content-type': 'application/json' }

export const bodyTextOf = (body: unknown, { names }: World): string => fillIn(json(body), names)

/** Changes with every row written in the two tenants, or in the tenants and users tables. */
export const stateOf = async ({ server, world }: Setting): Promise<string> =>
  (
    await Promise.all(
      [null, world.tenantId, world.otherTenantId].map((tenantId) => digestOf(server, tenantId)),
    )
  ).join()

export const propertiesOf = (schemas: readonly Schema[]): Record<string, Schema> =>
  Object.assign({}, ...schemas.map(({ properties }) => (isRecord(properties) ? properties : {})))

async function readRoutes(): Promise<InputRoute[]> {
  const document: Schema = { ...(await openapiDocument(createDocumentedApp())) }
  const paths = isRecord(document['paths']) ? Object.entries(document['paths']) : []
  return paths.flatMap(([path, operations]) =>
    Object.entries(isRecord(operations) ? operations : {})
      .filter(([, operation]) => isRecord(operation))
      .map(([method, operation]) => routeOf(method.toUpperCase(), path, operation)),
  )
}

function routeOf(method: string, path: string, operation: unknown): InputRoute {
  const media = inside(operation, 'requestBody', 'content', 'application/json')
  const schema = inside(media, 'schema')
  const example = inside(media, 'example') ?? firstExample(inside(media, 'examples'))
  const branches = inside(schema, 'anyOf')
  const parameters = inside(operation, 'parameters')
  return {
    method,
    target: path.replace(/([\w-]+)\/\{\w+\}/g, (whole, of: string) => `${of}/${idOf[of] ?? whole}`),
    caller: callerOf(path),
    example: isRecord(example) ? plausible(example) : null,
    schemas: (Array.isArray(branches) ? branches : [schema]).filter(isRecord),
    query: (Array.isArray(parameters) ? parameters : [])
      .filter((parameter) => inside(parameter, 'in') === 'query')
      .map((parameter) => String(inside(parameter, 'name'))),
  }
}

const inside = (value: unknown, ...names: string[]): unknown =>
  names.reduce<unknown>((within, name) => (isRecord(within) ? within[name] : undefined), value)

const firstExample = (examples: unknown): unknown =>
  inside(isRecord(examples) ? Object.values(examples)[0] : undefined, 'value')

const idOf: Record<string, string> = {
  tenants: '§tenant§',
  users: '§viewer§',
  sessions: '§missing§',
  'shopping-lists': '§list§',
  members: '§editor§',
  items: '§item§',
}

function callerOf(path: string): string {
  if (path.startsWith('/api/v1/tenants')) return 'root'
  if (/^\/api\/v1\/(users|audit)/.test(path)) return 'admin'
  if (/^\/api\/v1\/(auth\/(login|verify|resend|refresh|forgot|reset)|invitations\/preview)/.test(path))
    return 'nobody'
  return path.startsWith('/api/v1/invitations') ? 'stranger' : 'owner'
}

// Last, because it uses everything above.
export const inputRoutes: InputRoute[] = await readRoutes()
export const bodyRoutes = inputRoutes.filter(({ example }) => example !== null)
