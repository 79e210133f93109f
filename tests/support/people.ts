/** Tenants and users, created and signed in for real: over the API, with the code from the mail. */
import { expect } from 'bun:test'
import { type Answer, type Client, createClient } from './client.ts'
import type { TestServer } from './server.ts'
import { codeIn } from './smtp.ts'

export interface Person {
  id: string
  email: string
  fullName: string
  password: string
  accessToken: string
  refreshToken: string
  /** Calls as this person. */
  api: Client
}

export interface Tenant {
  id: string
  name: string
  admin: Person
}

export const goodPassword = 'correct horse battery staple'

let count = 0

/** An email address used by no one else in this run. */
export const freshEmail = (name = 'someone'): string =>
  `${name}-${++count}-${crypto.randomUUID().slice(0, 8)}@shop.example`

export async function signIn(server: TestServer, email: string, password: string) {
  const answer = await createClient(server.url).post('/auth/login', { email, password })
  expect(answer.status).toBe(200)
  return answer.body as {
    access_token: string
    refresh_token: string
    user: { id: string; full_name: string }
  }
}

export async function asPerson(server: TestServer, email: string, password: string): Promise<Person> {
  const { access_token, refresh_token, user } = await signIn(server, email, password)
  return {
    id: user.id,
    email,
    fullName: user.full_name,
    password,
    accessToken: access_token,
    refreshToken: refresh_token,
    api: createClient(server.url, access_token),
  }
}

export const superAdmin = (server: TestServer): Promise<Person> =>
  asPerson(server, server.superAdmin.email, server.superAdmin.password)

/** Submits the code from the newest mail to this address. */
export async function verify(server: TestServer, email: string): Promise<void> {
  const mail = await server.inbox.waitFor(email)
  const answer = await createClient(server.url).post('/auth/verify-email', { email, otp: codeIn(mail) })
  expect(answer.status).toBe(200)
}

const roots = new WeakMap<TestServer, Person>()

/** Calls as a super admin who signs in once per server, and again where a test has ended that session. */
async function asRoot(server: TestServer, call: (root: Person) => Promise<Answer>): Promise<Answer> {
  const known = roots.get(server)
  const answer = known && (await call(known))
  if (answer && answer.status !== 401) return answer
  const root = await superAdmin(server)
  roots.set(server, root)
  return call(root)
}

export async function makeTenant(server: TestServer, name = `Tenant ${++count}`): Promise<Tenant> {
  const email = freshEmail('admin')
  const answer = await asRoot(server, ({ api }) =>
    api.post('/tenants', {
      name,
      admin: { email, full_name: `Admin of ${name}`, password: goodPassword },
    }),
  )
  expect(answer.status).toBe(201)
  await verify(server, email)
  return { id: answer.body.id, name, admin: await asPerson(server, email, goodPassword) }
}

export async function makeUser(
  server: TestServer,
  tenant: Tenant,
  { name = 'member', role = 'member' }: { name?: string; role?: 'member' | 'tenant_admin' } = {},
): Promise<Person> {
  const email = freshEmail(name)
  const answer = await tenant.admin.api.post('/users', {
    email,
    full_name: name,
    password: goodPassword,
    role,
  })
  expect(answer.status).toBe(201)
  await verify(server, email)
  return asPerson(server, email, goodPassword)
}

export async function makeList(owner: Person, name = 'Groceries'): Promise<{ id: string }> {
  const answer = await owner.api.post('/shopping-lists', { name })
  expect(answer.status).toBe(201)
  return { id: answer.body.id }
}

/** Invites the person and accepts for them. */
export async function join(
  owner: Person,
  listId: string,
  guest: Person,
  role: 'editor' | 'viewer' = 'editor',
): Promise<void> {
  const invited = await owner.api.post(`/shopping-lists/${listId}/invite`, { email: guest.email, role })
  expect(invited.status).toBe(201)
  const accepted = await guest.api.post('/invitations/accept', { token: invited.body.token })
  expect(accepted.status).toBe(200)
}

export async function addItem(
  person: Person,
  listId: string,
  item: Record<string, unknown> = { name: 'Milk' },
) {
  const answer = await person.api.post(`/shopping-lists/${listId}/items`, item)
  expect(answer.status).toBe(201)
  return answer.body as { id: string; name: string; position: string; version: number; status: string }
}
