/** Two tenants with the same data: names, people, lists, items, deleted things, invitations, sessions. */
import { sql } from 'drizzle-orm'
import { allMailed } from '../../support/auth.ts'
import { join, makeTenant, makeUser, type Person, type Tenant } from '../../support/people.ts'
import { oncePerBackend, sharedServer, type TestServer } from '../../support/server.ts'

export const roles = ['admin', 'owner', 'editor', 'viewer', 'outsider'] as const
/** `admin`: of the tenant. `outsider`: a member of the tenant but of none of its lists. */
export type Role = (typeof roles)[number]

export interface ListIds {
  list: string
  /** Milk, pending. */
  item: string
  /** Bread, purchased. */
  bought: string
  deletedItem: string
  deletedList: string
}

export interface Half {
  tenant: Tenant
  people: Record<Role, Person>
  /** Its ids exist only in this tenant. */
  own: ListIds
  /** Its ids exist in both tenants. */
  twin: ListIds
  /** Like `twin`, but only in this tenant and not used otherwise. */
  single: ListIds
  /** The owner's. */
  session: string
  /** Invites the outsider to the list of `own`. */
  invitation: string
  redeemedInvitation: string
}

export interface Mirror {
  server: TestServer
  mine: Half
  theirs: Half
}

/** On the shared server; tests must not remove anything from it. */
export const mirrorOn = oncePerBackend(async (backend) => makeMirror(await sharedServer(backend)))

export async function makeMirror(server: TestServer): Promise<Mirror> {
  const shared = newListIds()
  const mine = await makeHalf(server, shared)
  // Made last, so that a socket cannot refuse their tokens merely for being older.
  const theirs = await makeHalf(server, shared)
  await allMailed(server)
  // Later it would look like a change of theirs.
  await server.running.keptBytes.count()
  return { server, mine, theirs }
}

const newListIds = (): ListIds => {
  const [list, item, bought, deletedItem, deletedList] = [1, 2, 3, 4, 5].map(() => Bun.randomUUIDv7())
  return {
    list: list ?? '',
    item: item ?? '',
    bought: bought ?? '',
    deletedItem: deletedItem ?? '',
    deletedList: deletedList ?? '',
  }
}

async function makeHalf(server: TestServer, twin: ListIds): Promise<Half> {
  const tenant = await makeTenant(server, 'Mirror')
  const member = (name: string) => makeUser(server, tenant, { name })
  const [owner, editor, viewer, outsider] = await Promise.all([
    member('owner'),
    member('editor'),
    member('viewer'),
    member('outsider'),
  ])
  const people = { admin: tenant.admin, owner, editor, viewer, outsider }
  const own = newListIds()
  await fill(people, own)
  await fill(people, twin)
  const single = newListIds()
  await fill(people, single)
  const sessions = await owner.api.get('/auth/sessions')
  const invite = async (): Promise<string> => {
    const { body } = await owner.api.post(`/shopping-lists/${own.list}/invite`, { email: outsider.email })
    return body.token
  }
  await server.running.deps.db.write(
    { tenantId: tenant.id },
    sql`insert into mail_outbox (tenant_id, id, sealed, due_at)
      values (${tenant.id}, ${Bun.randomUUIDv7()}, 'never sent', 'infinity')`,
  )
  const redeemedInvitation = await invite()
  await outsider.api.post('/invitations/reject', { token: redeemedInvitation })
  await server.running.deps.db.write(
    'system',
    sql`insert into refusal_counts (tenant_id, id, hour, subject, action, reason, count, listed) values
      (${tenant.id}, ${Bun.randomUUIDv7()}, date_trunc('hour', now()), '203.0.113.0/24', 'auth.sign_in_failed', '', 1, true)`,
  )
  return {
    tenant,
    people,
    own,
    twin,
    single,
    session: sessions.body.data[0].id,
    invitation: await invite(),
    redeemedInvitation,
  }
}

async function fill({ owner, editor, viewer }: Record<Role, Person>, listIds: ListIds): Promise<void> {
  const { list, item, bought, deletedItem, deletedList } = listIds
  await owner.api.post('/shopping-lists', { id: list, name: 'Same', description: 'Same' })
  await owner.api.post(`/shopping-lists/${list}/items`, {
    items: [
      { id: item, name: 'Milk' },
      { id: bought, name: 'Bread' },
      { id: deletedItem, name: 'Gone' },
    ],
  })
  // The twin lists' keys are the same in both tenants too.
  const keyed = { headers: { 'idempotency-key': list } }
  await owner.api.patch(`/items/${bought}`, { status: 'purchased' }, keyed)
  await owner.api.delete(`/items/${deletedItem}`)
  await join(owner, list, editor, 'editor')
  await join(owner, list, viewer, 'viewer')
  await owner.api.post('/shopping-lists', { id: deletedList, name: 'Gone' })
  await owner.api.delete(`/shopping-lists/${deletedList}`)
}

/** Every kind of id that another tenant has. Events have none: they are numbered per list. */
export const foreignIds = (half: Half): Record<string, string> => ({
  list: half.own.list,
  'deleted list': half.own.deletedList,
  item: half.own.item,
  'deleted item': half.own.deletedItem,
  user: half.people.owner.id,
  tenant: half.tenant.id,
  session: half.session,
  invitation: claimsOf(half.invitation)['jti'] ?? '',
})

export const claimsOf = (token: string): Record<string, string> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

/** Must never appear in an answer to the other tenant, unless it was in the request. */
export const secretsOf = (half: Half): string[] => [
  ...Object.values(foreignIds(half)),
  half.own.bought,
  ...Object.values(half.single),
  ...Object.values(half.people).flatMap(({ id, email }) => [id, email]),
]
