/** Targets of the generated requests: two tenants with people, lists and items, replaced when worn out. */
import { sql } from 'drizzle-orm'
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
} from '../../support/people.ts'
import type { TestServer } from '../../support/server.ts'

export interface World {
  /** Access tokens by their holder's name. */
  tokens: Record<string, string>
  /** Values of the placeholders. */
  names: Record<string, string>
  tenantId: string
  otherTenantId: string
}

export async function makeWorld(server: TestServer): Promise<World> {
  const [tenant, otherTenant] = [await makeTenant(server), await makeTenant(server)]
  const [owner, editor, viewer, stranger] = await Promise.all(
    ['owner', 'editor', 'viewer', 'stranger'].map((name) => makeUser(server, tenant, { name })),
  )
  if (!owner || !editor || !viewer || !stranger) throw new Error('a person is missing')
  const list = await makeList(owner, 'Fuzzed')
  await join(owner, list.id, editor, 'editor')
  await join(owner, list.id, viewer, 'viewer')
  const item = await addItem(owner, list.id)
  await addItem(owner, list.id, { name: 'Bread' })
  const deleted = await makeList(owner, 'Deleted')
  await owner.api.delete(`/shopping-lists/${deleted.id}`)
  await makeList(owner, 'Another')
  const other = otherTenant.admin
  const otherList = await makeList(other, 'Theirs')
  const otherItem = await addItem(other, otherList.id)
  const root = await superAdmin(server)
  const invited = await owner.api.post(`/shopping-lists/${list.id}/invite`, { email: stranger.email })
  const sessions = await owner.api.get('/auth/sessions')
  const page = await owner.api.get(`/shopping-lists/${list.id}/items?limit=1`)
  const otherPage = await owner.api.get('/shopping-lists?limit=1')
  const spare: Person = await asPerson(server, owner.email, goodPassword)
  return {
    tenantId: tenant.id,
    otherTenantId: otherTenant.id,
    tokens: {
      nobody: '',
      admin: tenant.admin.accessToken,
      owner: owner.accessToken,
      editor: editor.accessToken,
      viewer: viewer.accessToken,
      stranger: stranger.accessToken,
      root: root.accessToken,
      other: other.accessToken,
    },
    names: {
      list: list.id,
      upperList: list.id.toUpperCase(),
      item: item.id,
      owner: owner.id,
      editor: editor.id,
      viewer: viewer.id,
      stranger: stranger.id,
      tenant: tenant.id,
      session: String(sessions.body.data[0].id),
      deleted: deleted.id,
      otherList: otherList.id,
      otherItem: otherItem.id,
      otherUser: other.id,
      otherTenant: otherTenant.id,
      missing: Bun.randomUUIDv7(),
      email: owner.email,
      otherEmail: other.email,
      password: goodPassword,
      refreshToken: spare.refreshToken,
      accessToken: owner.accessToken,
      invitation: invited.body.token,
      cursor: String(page.body.next_cursor),
      otherCursor: String(otherPage.body.next_cursor),
    },
  }
}

/** Placeholders for things that do not exist yet get a new value each time. */
export const fillIn = (text: string, names: Record<string, string>): string =>
  text.replace(/§(\w+)§/g, (whole, name: string) => {
    if (name === 'freshId') return Bun.randomUUIDv7()
    if (name === 'freshEmail') return `${Bun.randomUUIDv7()}@shop.example`
    if (name === 'freshSlug') return `s-${Bun.randomUUIDv7()}`
    return names[name] ?? whole
  })

/**
 * Changes with every row written, even with the same values: each row version has its own ctid and xmin.
 */
export async function digestOf(server: TestServer, tenantId: string | null): Promise<string> {
  const [row] = await server.running.deps.db.read(
    tenantId === null ? 'system' : { tenantId },
    tenantId === null
      ? digest('tenants', 'users')
      : digest('tenants', 'users', 'shopping_lists', 'list_members', 'items', 'list_events'),
  )
  if (!row) throw new Error('no digest')
  return row.digest
}

const digest = (...tables: string[]) =>
  sql<{ digest: string }>`select concat_ws(' ', ${sql.join(
    tables.map(
      (table) =>
        sql`(select count(*) || ':' || coalesce(sum(hashtextextended(ctid::text || xmin::text, 0)), 0) from ${sql.identifier(table)})`,
    ),
    sql`, `,
  )}) as digest`
