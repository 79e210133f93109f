/** Fixtures of the permission tests: the app's routes, one person per role, and targets to call the routes on. */
import { createDocumentedApp } from '../../../src/app.ts'
import type { Answer } from '../../support/client.ts'
import {
  freshEmail,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import { oncePerBackend, sharedServer, type TestServer } from '../../support/server.ts'
import type { Call, Rule, Target, Who } from './table.ts'

/** Every route of the app, as `METHOD /path`. */
export const routes: readonly string[] = [
  ...new Set(
    createDocumentedApp()
      .routes.filter(({ method }) => method !== 'OPTIONS')
      .map(({ method, path }) => `${method} ${path.replace(/(?<=.)\/$/, '')}`),
  ),
].sort()

/** Routes that work without a token, including the pages' assets. */
const publicRoutes: readonly RegExp[] = [
  /^POST \/api\/v1\/auth\/(login|verify-email|resend-otp|refresh|forgot-password|reset-password)$/,
  /^POST \/api\/v1\/invitations\/preview$/,
  /^GET \/(healthz|readyz|metrics|docs|redoc|openapi\.json|asyncapi\.json|invite|reset-password)$/,
  /^GET \/(pages|docs|redoc)\/[\w./-]+$/,
  // Takes its token from the query or the subprotocol; a bad one closes the socket with 4001.
  /^(WS|GET) \/ws$/,
]

export const isPublic = (route: string): boolean => publicRoutes.some((pattern) => pattern.test(route))

export const guarded: readonly string[] = routes.filter((route) => !isPublic(route))

export const unknownId = '01890000-0000-7000-8000-000000000000'

export interface World {
  tenant: Tenant
  people: Record<Who, Person>
}

export const worldOf = oncePerBackend(async (backend) => makeWorld(await sharedServer(backend)))

export async function makeWorld(server: TestServer): Promise<World> {
  const [tenant, other, root] = await Promise.all([
    makeTenant(server, 'Permissions'),
    makeTenant(server, 'Elsewhere'),
    superAdmin(server),
  ])
  const names = ['owner', 'editor', 'viewer', 'outsider']
  const [owner, editor, viewer, outsider, stranger] = await Promise.all([
    ...names.map((name) => makeUser(server, tenant, { name })),
    makeUser(server, other, { name: 'stranger' }),
  ])
  if (!owner || !editor || !viewer || !outsider || !stranger) throw new Error('a person is missing')
  const insiders = { super_admin: root, tenant_admin: tenant.admin, owner, editor, viewer }
  return { tenant, people: { ...insiders, outsider, stranger, other_admin: other.admin } }
}

/** A list of the owner's with an editor, a viewer and an item, plus whatever the call needs. */
export async function makeTarget({ tenant, people }: World, given?: Call['given']): Promise<Target> {
  const { super_admin, tenant_admin, owner, editor, viewer, outsider } = people
  const { id: listId } = await makeList(owner, 'Shared')
  await join(owner, listId, editor, 'editor')
  await join(owner, listId, viewer, 'viewer')
  const item = await owner.api.post(`/shopping-lists/${listId}/items`, { name: 'Milk' })
  const account = () => ({ email: freshEmail(), full_name: 'Spare', password: 'a spare passphrase' })
  const made = async (answer: Promise<Answer>): Promise<string> => (await answer).body.id
  if (given === 'deleted list') await owner.api.delete(`/shopping-lists/${listId}`)
  return {
    ...{ listId, itemId: item.body.id, editor, viewer, outsider, freshEmail },
    tenantId:
      given === 'spare tenant'
        ? await made(super_admin.api.post('/tenants', { name: 'Spare', admin: account() }))
        : tenant.id,
    userId: given === 'spare user' ? await made(tenant_admin.api.post('/users', account())) : unknownId,
    invitation: given === 'invitation' ? await invite(owner, listId, outsider) : '',
  }
}

async function invite(owner: Person, listId: string, guest: Person): Promise<string> {
  const answer = await owner.api.post(`/shopping-lists/${listId}/invite`, { email: guest.email })
  return answer.body.token
}

/** The route's path with its ids, below /api/v1. */
export const pathFor = (route: string, params: Record<string, string>): string =>
  (route.split(' /api/v1')[1] ?? '').replace(/:(\w+)/g, (_, name: string) => params[name] ?? 'missing')

/** Calls the rule's route on the target. */
export function call(rule: Rule, target: Target, who: Who, caller: Person): Promise<Answer> {
  const { route } = rule
  const params = rule.params?.(target, who, caller) ?? {
    id: route.includes('/items/:id') ? target.itemId : target.listId,
  }
  return send(caller, route, pathFor(route, params), rule.body?.(target, who))
}

export function send(person: Person, route: string, path: string, body?: object): Promise<Answer> {
  const [method] = route.split(' ')
  if (method === 'GET') return person.api.get(path)
  if (method === 'DELETE') return person.api.delete(path)
  return method === 'PATCH' ? person.api.patch(path, body) : person.api.post(path, body)
}

export interface Outcome {
  status: number
  code: string | undefined
  headers: Headers
}

export interface Sent {
  headers?: Record<string, string>
  params?: Record<string, string>
  query?: string
  body?: string
}

/** Sends the request as given, valid or not. */
export async function sendRaw({ url }: TestServer, route: string, sent: Sent): Promise<Outcome> {
  const [method = ''] = route.split(' ')
  const { params = { id: unknownId, user_id: unknownId }, headers = {}, query = '', body } = sent
  const response = await fetch(`${url}/api/v1${pathFor(route, params)}${query}`, {
    method,
    headers,
    ...(method === 'GET' || body === undefined ? {} : { body }),
  })
  const text = await response.text()
  return { status: response.status, code: /"code":"(\w+)"/.exec(text)?.[1], headers: response.headers }
}

export const bearer = (token: string): Record<string, string> => ({
  authorization: `Bearer ${token}`,
  'content-type': 'application/json',
})
