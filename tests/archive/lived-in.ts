/** A tenant with something of everything an archive must carry, made over the API. */
import { expect } from 'bun:test'
import { sql } from 'drizzle-orm'
import { login, makeUnverified } from '../support/auth.ts'
import {
  addItem,
  asPerson,
  goodPassword,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
} from '../support/people.ts'
import type { TestServer } from '../support/server.ts'

export interface LivedIn {
  id: string
  slug: string
  admin: Person
  /** Owner of everything. */
  ann: Person
  /** Editor of `long`, with a changed password. */
  ben: Person
  /** Invited to `long`; `open` is her invitation. */
  eve: Person
  /** Over a thousand items, deleted ones too, and more events. */
  long: string
  deleted: string
  /** Its first events have been deleted. */
  old: string
  /** Invitations: not yet redeemed, and redeemed. */
  open: string
  redeemed: string
  /** An access token of a session that was signed out. */
  deadToken: string
}

/** Ben's password after the change. */
export const newPassword = 'another horse battery staple'

export async function liveIn(server: TestServer): Promise<LivedIn> {
  const { db } = server.running.deps
  const root = await superAdmin(server)
  const { id } = await makeTenant(server, 'Corner “house” № 7')
  // Each deactivation raises the token epoch, so everyone has to sign in again.
  for (const is_active of [false, true]) await root.api.patch(`/tenants/${id}`, { is_active })
  const { body: admins } = await root.api.get(`/tenants/${id}`)
  const emails = await db.read({ tenantId: id }, sql<{ email: string }>`select email from users`)
  const admin = await asPerson(server, emails[0]?.email ?? '', goodPassword)
  const tenant = { id, name: 'Corner house', admin }
  const [ann, ben, cat, eve] = await Promise.all(
    ['Ann', 'Ben', 'Cat', 'Eve'].map((name) => makeUser(server, tenant, { name })),
  )
  if (!ann || !ben || !cat || !eve) throw new Error('a person is missing')
  const dan = await makeUnverified(server, tenant)
  await db.write('housekeeping', sql`update users set removal_announced_at = now() where id = ${dan.id}`)

  const long = (await makeList(ann, 'Großeinkauf 🛒')).id
  await ann.api.patch(`/shopping-lists/${long}`, { description: 'Two\nlines, a "quote" and a \\' })
  const redeemed = await invite(ann, long, ben)
  expect((await ben.api.post('/invitations/accept', { token: redeemed })).status).toBe(200)
  await join(ann, long, cat, 'viewer')
  for (let round = 0; round < 6; round++) {
    const items = Array.from({ length: 200 }, (_, index) => ({ name: `Thing ${round}.${index}` }))
    expect((await ann.api.post(`/shopping-lists/${long}/items`, { items })).status).toBe(201)
  }
  const milk = await addItem(ben, long, {
    name: 'Ünïcødé \u2028 🥛',
    quantity: 999_999.125,
    unit: 'l',
    note: 'a\n"b"\\',
  })
  await ben.api.patch(`/items/${milk.id}`, { status: 'purchased' })
  const bread = await addItem(ben, long, { name: 'Bread', quantity: 0.5, category: 'Bakery' })
  await ann.api.patch(`/items/${bread.id}`, { status: 'purchased' })
  await ann.api.post(`/shopping-lists/${long}/items/clear-purchased`)
  const eggs = await addItem(ann, long, { name: 'Eggs', position: 'a0V' })
  await ben.api.patch(`/items/${eggs.id}`, { status: 'purchased' })

  const deleted = (await makeList(ann, 'Deleted')).id
  await addItem(ann, deleted)
  await ann.api.delete(`/shopping-lists/${deleted}`)
  const old = (await makeList(ann, 'Old')).id
  for (const name of ['one', 'two', 'three', 'four']) await addItem(ann, old, { name })
  await db.write('housekeeping', sql`delete from list_events where list_id = ${old} and seq <= 2`)

  const open = await invite(ann, long, eve)
  await admin.api.patch(`/users/${cat.id}`, { is_active: false })
  const other = await asPerson(server, ann.email, goodPassword)
  await other.api.post('/auth/logout')
  const passwords = { current_password: goodPassword, new_password: newPassword }
  expect((await ben.api.post('/auth/change-password', passwords)).status).toBe(204)
  expect((await login(server, eve.email, 'a wrong password')).status).toBe(401)
  return {
    ...{ id, slug: admins.slug, admin, ann, ben, eve, long, deleted, old, open, redeemed },
    deadToken: other.accessToken,
  }
}

async function invite(owner: Person, listId: string, { email }: Person): Promise<string> {
  const { body } = await owner.api.post(`/shopping-lists/${listId}/invite`, { email })
  return body.token
}
