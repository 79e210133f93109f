/** A sample tenant, made through the services that the API uses. A second run finds it and only renews the passwords. */
import { sql } from 'drizzle-orm'
import { type Caller, internalSource } from '../../access/actor.ts'
import type { Deps } from '../../deps.ts'
import { type Account, findAccountByEmail } from '../../features/auth/accounts.ts'
import { acceptInvitation } from '../../features/invitations/service.ts'
import { signInvitation } from '../../features/invitations/token.ts'
import { addItems, changeItem } from '../../features/items/service.ts'
import { createList } from '../../features/lists/service.ts'
import { insertUser } from '../../features/users/service.ts'
import { newId } from '../../lib/ids.ts'
import { sampleLists } from './groceries.ts'

const admin = { email: 'alex@demo.example', fullName: 'Alex Rivera', role: 'tenant_admin' as const }
const member = { email: 'sam@demo.example', fullName: 'Sam Okafor', role: 'member' as const }

export interface DemoSample {
  admin: string
  member: string
  listId: string
  /** A pending item on it. */
  itemId: string
}

export async function fillDemo(deps: Deps, password: string): Promise<DemoSample> {
  const passwordHash = await deps.passwords.hash(password)
  if (!(await findAccountByEmail(deps.db, admin.email))) await makeTenant(deps, passwordHash)
  await deps.db.write(
    'system',
    sql`update users set password_hash = ${passwordHash} where email in (${admin.email}, ${member.email})`,
  )
  const owner = callerOf(await findAccountByEmail(deps.db, admin.email))
  const [list] = await deps.db.read(
    owner,
    sql<{ listId: string; itemId: string }>`
      select l.id as "listId", i.id as "itemId" from shopping_lists l
      join items i on i.tenant_id = l.tenant_id and i.list_id = l.id
      where l.tenant_id = ${owner.tenantId} and l.deleted_at is null and i.deleted_at is null
      order by l.created_at, i.status = 'purchased', i.position limit 1`,
  )
  if (!list) throw new Error('the demo tenant has no lists any more; remove its data folder for a fresh one')
  return { admin: admin.email, member: member.email, ...list }
}

const callerOf = (account: Account | null): Caller => {
  if (!account) throw new Error('the demo tenant is incomplete; remove its data folder for a fresh one')
  const { userId, tenantId, role } = account
  return { userId, tenantId, role, sessionId: newId(), keyed: null, ...internalSource }
}

async function makeTenant(deps: Deps, passwordHash: string): Promise<void> {
  const tenantId = newId()
  await deps.db.transaction('system', async (query) => {
    await query(sql`insert into tenants (id, name, slug) values (${tenantId}, 'Demo household', 'demo')`)
    for (const person of [admin, member])
      await query(insertUser({ ...person, id: newId(), tenantId, passwordHash }))
    await query(sql`update users set email_verified = true where tenant_id = ${tenantId}`)
  })
  const [owner, friend] = await Promise.all(
    [admin, member].map(async ({ email }) => callerOf(await findAccountByEmail(deps.db, email))),
  )
  if (!owner || !friend) throw new Error('the demo users were not made')
  for (const sample of sampleLists) await makeList(deps, owner, friend, sample)
}

async function makeList(
  deps: Deps,
  owner: Caller,
  friend: Caller,
  sample: (typeof sampleLists)[number],
): Promise<void> {
  const { body } = await createList(deps, owner, { name: sample.name, description: sample.description })
  const listId = String(JSON.parse(body).id)
  const invited = {
    tenantId: owner.tenantId,
    listId,
    email: member.email,
    role: 'editor',
    inviterId: owner.userId,
  } as const
  await acceptInvitation(deps, friend, await signInvitation(deps.jwt, invited, 60))
  const items = sample.items.map(({ bought: _, ...item }) => ({ ...item, id: newId() }))
  await addItems(deps, owner, listId, items, 'many')
  for (const [index, { bought }] of sample.items.entries()) {
    const id = items[index]?.id
    if (bought && id) await changeItem(deps, friend, id, { status: 'purchased' }, null)
  }
}
