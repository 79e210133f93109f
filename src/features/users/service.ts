/** A tenant's people: created, changed and deactivated by its admins. */

import { type SQL, sql } from 'drizzle-orm'
import type { Actor, Caller } from '../../access/actor.ts'
import { onRepeatedRevocation } from '../../access/revocations.ts'
import { users } from '../../db/schema.ts'
import { containing } from '../../db/search.ts'
import { rowJson, wireColumns } from '../../db/wire-json.ts'
import { AppError, notFound } from '../../errors.ts'
import { logFailure } from '../../lib/background.ts'
import { type Cursors, openPage, type PageRow } from '../../lib/cursor.ts'
import { newId } from '../../lib/ids.ts'
import { auditStatement, by, differences } from '../audit/entry.ts'
import { userJson } from '../auth/accounts.ts'
import { isAddressTaken } from '../auth/addresses.ts'
import { provenUser } from '../auth/hashing-line.ts'
import { checkNewPassword, type Passwords } from '../auth/passwords.ts'
import type { SessionDeps } from '../auth/sign-in.ts'
import { queueFirstCode, type VerificationDeps } from '../auth/verification.ts'
import type { NewUser, UserChange, UserQuery } from './model.ts'
import type { TakenAddresses } from './taken-addresses.ts'

interface Body {
  body: string
}

interface CreatedUser extends Body {
  tenantName: string
}

export interface UserDeps extends SessionDeps, VerificationDeps {
  passwords: Passwords
  cursors: Cursors
  takenAddresses: TakenAddresses
}

export interface UserRow {
  id: string
  tenantId: string
  email: string
  fullName: string
  role: string
  passwordHash: string
}

/** A statement that creates a user and returns it as `body`, with the name of its tenant. */
export const insertUser = ({
  id,
  tenantId,
  email,
  fullName,
  role,
  passwordHash,
}: UserRow): SQL<CreatedUser> => sql<CreatedUser>`
  insert into users as u (tenant_id, id, email, full_name, role, password_hash)
  values (${tenantId}, ${id}, ${email}, ${fullName}, ${role}, ${passwordHash})
  returning ${userJson('u')}::text as body,
    (select t.name from tenants t where t.id = u.tenant_id) as "tenantName"`

/** Creations with the same address queue up, so that each counts those before it. Its own statement, before the insert. */
export const queueForAddress = (email: string): SQL =>
  sql`select pg_advisory_xact_lock(hashtextextended(${`address:${email}`}, 0))`

/** The audit entry of a user's creation. */
export const creationOf = ({ id, email, role }: Pick<UserRow, 'id' | 'email' | 'role'>) => ({
  action: 'user.created' as const,
  target: { type: 'user' as const, id },
  details: { email, role },
})

/** Maps the violated constraint to email_taken; any other error is returned as it is. */
export function emailTaken(error: unknown): unknown {
  return isAddressTaken(error)
    ? new AppError('email_taken', 'There is an account with this e-mail address already.')
    : error
}

/**
 * The user gets a code by mail. A refusal of the address is recorded in the audit trail.
 * @returns the user as JSON text
 * @throws AppError email_taken (409), invalid (422), rate_limited (429), busy, redis_unavailable, database_unavailable (503)
 */
export async function createUser(deps: UserDeps, actor: Caller, input: NewUser): Promise<string> {
  const { tenantId } = actor
  const { email } = input
  checkNewPassword(input.password, email, 'password')
  await deps.takenAddresses.refuseExhausted(tenantId)
  const passwordHash = await deps.passwords.hash(input.password, provenUser(actor.userId))
  const role = input.role ?? 'member'
  const row = { id: newId(), tenantId, email, fullName: input.full_name, role, passwordHash }
  const code = await deps.otps.issue(row.id)
  const body = await deps.db
    .transaction({ tenantId }, async (query) => {
      await query(auditStatement({ ...by(actor), ...creationOf(row) }))
      await query(queueForAddress(email))
      const [created] = await query(insertUser(row))
      if (!created) throw new Error('an inserted user was not returned')
      await queueFirstCode(deps, query, { ...row, ...created, code }, actor)
      return created.body
    })
    .catch(async (error: unknown) => {
      if (isAddressTaken(error)) await recordTaken(deps, actor, email)
      throw emailTaken(error)
    })
  deps.outbox.wake()
  return body
}

/** As many as are counted, and no more, are in the trail. @throws AppError rate_limited (429) */
async function recordTaken(deps: UserDeps, actor: Caller, email: string): Promise<void> {
  await deps.takenAddresses.count(actor.tenantId)
  const details = { email, reason: 'email_taken' }
  await deps.db.write(actor, auditStatement({ ...by(actor), action: 'user.creation_failed', details }))
}

/** What fellow members of a tenant see of each other. */
const colleagueJson = (u: string): SQL => rowJson(wireColumns(users, u, 'id', 'fullName', 'email'))

/** Admins see everyone in full; others see the names and addresses of active users. */
const visibleTo = (actor: Actor): { shape: SQL; only: SQL } =>
  actor.role === 'tenant_admin'
    ? { shape: userJson('u'), only: sql`true` }
    : { shape: colleagueJson('u'), only: sql`u.is_active` }

export async function listUsers(deps: UserDeps, actor: Actor, query: UserQuery): Promise<string> {
  const { is_active, role } = query
  const search = query.search?.trim().normalize('NFC')
  const page = openPage(deps.cursors, ['users', actor.tenantId, actor.role, search, is_active, role], query)
  const { shape, only } = visibleTo(actor)
  const [createdAt, id] = page.after
  const pattern = search ? containing(search) : null
  const rows = await deps.db.read(
    actor,
    sql<PageRow>`
      select ${shape}::text as body, json_build_array(wire_time(u.created_at), u.id)::text as key
      from users u
      where u.tenant_id = ${actor.tenantId} and ${only}
        and (${is_active ?? null}::boolean is null or u.is_active = ${is_active ?? null}::boolean)
        and (${role ?? null}::text is null or u.role = ${role ?? null}::text)
        and (${pattern}::text is null or u.full_name ilike ${pattern} or u.email ilike ${pattern})
        and (${createdAt ?? null}::timestamptz is null
          or (u.created_at, u.id) < (${createdAt ?? null}::timestamptz, ${id ?? null}::uuid))
      order by u.created_at desc, u.id desc limit ${page.fetch}::int`,
  )
  return page.answer(rows)
}

export async function getUser(deps: UserDeps, actor: Actor, userId: string): Promise<string> {
  const { shape, only } = visibleTo(actor)
  const [row] = await deps.db.read(
    actor,
    sql<Body>`select ${shape}::text as body from users u
      where u.tenant_id = ${actor.tenantId} and u.id = ${userId} and ${only}`,
  )
  if (!row) throw notFound('user')
  return row.body
}

interface Changed {
  refusal: 'not_found' | 'last_admin' | null
  /** As it is now; of no meaning with a refusal. */
  body: string
  tokenEpoch: number | null
}

/**
 * A new role ends the user's access tokens, deactivation their sessions as well; both take effect with the commit.
 * @returns the user as JSON text
 * @throws AppError not_found, cannot_deactivate_self, last_admin
 */
export async function changeUser(
  deps: UserDeps,
  actor: Caller,
  userId: string,
  change: UserChange,
): Promise<string> {
  const { tenantId } = actor
  if (change.is_active === false && userId === actor.userId)
    throw new AppError('cannot_deactivate_self', 'You cannot deactivate your own account.')
  const [changed] = await deps.db.write(
    { tenantId },
    // Two who take away an admin at the same time queue up here, and the second counts again.
    sql`select from tenants where id = ${tenantId} for no key update`,
    changeStatement(actor, userId, change),
  )
  if (changed?.refusal === 'last_admin')
    throw new AppError('last_admin', 'A tenant needs an active admin: make someone else admin first.')
  if (!changed || changed.refusal === 'not_found') throw notFound('user')
  if (changed.tokenEpoch !== null) {
    deps.revocations.learn({ tenantId, subject: userId, minimumEpoch: changed.tokenEpoch })
    if (change.is_active === false)
      await logFailure(deps.log, 'ending sessions', deps.sessions.endAll(userId))
  }
  return changed.body
}

const changeStatement = (actor: Caller, userId: string, change: UserChange): SQL<Changed> => sql<Changed>`
  with target as (
    select u.*, w.*, u.is_active and not w.new_is_active as deactivated,
      (u.is_active and not w.new_is_active) or u.role <> w.new_role as cut_off
    from users u, lateral (
      select coalesce(${change.full_name ?? null}::text, u.full_name) as new_full_name,
        coalesce(${change.role ?? null}::text, u.role) as new_role,
        coalesce(${change.is_active ?? null}::boolean, u.is_active) as new_is_active
    ) w
    where u.tenant_id = ${actor.tenantId} and u.id = ${userId}
  ), refused as (
    select 'last_admin' as refusal from target t
    where t.role = 'tenant_admin' and t.is_active and (t.new_role <> 'tenant_admin' or not t.new_is_active)
      and not exists (
        select from users o where o.tenant_id = ${actor.tenantId} and o.id <> t.id and o.role = 'tenant_admin' and o.is_active
      )
  ), changed as (
    update users u set full_name = t.new_full_name, role = t.new_role, is_active = t.new_is_active,
      token_epoch = u.token_epoch + t.cut_off::int, session_epoch = u.session_epoch + t.deactivated::int,
      updated_at = clock_timestamp()
    from target t
    where u.tenant_id = t.tenant_id and u.id = t.id and not exists (select from refused)
      and (u.full_name, u.role, u.is_active) is distinct from (t.new_full_name, t.new_role, t.new_is_active)
    returning u.*, t.cut_off
  ), revoked as (
    insert into revocations (tenant_id, subject, minimum_epoch)
    select tenant_id, id, token_epoch from changed where cut_off ${onRepeatedRevocation}
  ), audited as (${auditOfChange(actor, userId)})
  select coalesce((select refusal from refused), case when t.id is null then 'not_found' end) as refusal,
    coalesce((select ${userJson('c')} from changed c), ${userJson('u')})::text as body,
    (select token_epoch from changed where cut_off) as "tokenEpoch"
  from (select) one left join target t on true left join users u on u.tenant_id = t.tenant_id and u.id = t.id`

const auditOfChange = (actor: Caller, userId: string): SQL =>
  auditStatement(
    {
      ...by(actor),
      action: sql`case when t.is_active and not c.is_active then 'user.deactivated'
        when c.is_active and not t.is_active then 'user.reactivated'
        when c.role <> t.role then 'user.role_changed' else 'user.changed' end`,
      target: { type: 'user', id: userId },
      details: differences('t', 'c', ['full_name', 'role', 'is_active']),
    },
    sql`changed c, target t`,
  )
