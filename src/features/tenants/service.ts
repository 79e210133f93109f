/**
 * Tenants as the platform manages them. Statements run in the system scope for tenants themselves, in a tenant's own
 * for its contents.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Caller } from '../../access/actor.ts'
import { onRepeatedRevocation } from '../../access/revocations.ts'
import type { Query } from '../../db/database.ts'
import { ConstraintError } from '../../db/errors.ts'
import { platformTenantId, tenants } from '../../db/schema.ts'
import { containing } from '../../db/search.ts'
import { rowJson, wireColumns } from '../../db/wire-json.ts'
import { AppError, notFound } from '../../errors.ts'
import { openPage, type PageRow } from '../../lib/cursor.ts'
import { newId } from '../../lib/ids.ts'
import { auditOfTenant, auditStatement, differences } from '../audit/entry.ts'
import { provenUser } from '../auth/hashing-line.ts'
import { checkNewPassword } from '../auth/passwords.ts'
import { queueFirstCode } from '../auth/verification.ts'
import { creationOf, emailTaken, insertUser, queueForAddress, type UserDeps } from '../users/service.ts'
import type { NewTenant, TenantChange, TenantQuery } from './model.ts'
import { freeSlug, slugFrom } from './slug.ts'

interface Body {
  body: string
}

/**
 * Creates the tenant and its first admin, both or neither. The admin gets a code by mail.
 * @returns the tenant with its admin, as JSON text
 * @throws AppError slug_taken, email_taken (409), invalid (422), busy, redis_unavailable, database_unavailable (503)
 */
export async function createTenant(deps: UserDeps, actor: Caller, input: NewTenant): Promise<string> {
  const { email, full_name: fullName } = input.admin
  checkNewPassword(input.admin.password, email, 'admin.password')
  const passwordHash = await deps.passwords.hash(input.admin.password, provenUser(actor.userId))
  const tenantId = newId()
  const userId = newId()
  const code = await deps.otps.issue(userId)
  const body = await deps.db
    .transaction('system', async (query) => {
      const tenant = await insertTenant(query, tenantId, input)
      const row = { id: userId, tenantId, email, fullName, role: 'tenant_admin', passwordHash }
      await query(queueForAddress(email))
      const [admin] = await query(insertUser(row))
      if (!admin) throw new Error('an inserted user was not returned')
      const made = { action: 'tenant.created' as const, details: { name: input.name, admin: email } }
      for (const entry of auditOfTenant(actor, tenantId, made)) await query(entry)
      await query(
        auditStatement({ tenantId, actor, source: { ...actor, address: null }, ...creationOf(row) }),
      )
      await queueFirstCode(deps, query, { ...row, ...admin, code }, actor)
      return `${tenant.slice(0, -1)},"admin":${admin.body}}`
    })
    .catch((error: unknown) => {
      throw emailTaken(error)
    })
  deps.outbox.wake()
  return body
}

const maxSlugTries = 5

/** A generated slug may be given to another tenant just before it is inserted; then the next one is tried. */
async function insertTenant(query: Query, id: string, { name, slug }: NewTenant): Promise<string> {
  for (let attempt = 0; attempt < maxSlugTries; attempt++) {
    const [tenant] = await query(
      sql<Body>`insert into tenants as t (id, name, slug)
        values (${id}, ${name}, ${slug ?? (await chooseSlug(query, name))})
        on conflict (slug) do nothing returning ${tenantJson('t')}::text as body`,
    )
    if (tenant) return tenant.body
    if (slug !== undefined) break
  }
  throw slugTaken()
}

/** Creations with the same base queue up, so that each sees the slug that the one before it took. */
async function chooseSlug(query: Query, name: string): Promise<string> {
  const base = slugFrom(name)
  await query(sql`select pg_advisory_xact_lock(hashtextextended(${`slug:${base}`}, 0))`)
  const taken = await query(
    sql<{ slug: string }>`select slug from tenants where slug = ${base} or slug like ${`${base}-%`}`,
  )
  return freeSlug(base, new Set(taken.map((row) => row.slug)))
}

const slugTaken = () => new AppError('slug_taken', 'There is a tenant with this slug already.')

export async function listTenants(deps: UserDeps, query: TenantQuery): Promise<string> {
  const { is_active } = query
  const search = query.search?.trim().normalize('NFC')
  const page = openPage(deps.cursors, ['tenants', search, is_active], query)
  const [createdAt, id] = page.after
  const pattern = search ? containing(search) : null
  const rows = await deps.db.read(
    'system',
    sql<PageRow>`
      select ${tenantJson('t')}::text as body, json_build_array(wire_time(t.created_at), t.id)::text as key
      from tenants t
      where t.id <> ${platformTenantId}
        and (${is_active ?? null}::boolean is null or t.is_active = ${is_active ?? null}::boolean)
        and (${pattern}::text is null or t.name ilike ${pattern} or t.slug ilike ${pattern})
        and (${createdAt ?? null}::timestamptz is null
          or (t.created_at, t.id) < (${createdAt ?? null}::timestamptz, ${id ?? null}::uuid))
      order by t.created_at desc, t.id desc limit ${page.fetch}::int`,
  )
  return page.answer(rows)
}

const tenantJson = (t: string, more?: SQL): SQL => {
  const columns = wireColumns(tenants, t, 'id', 'name', 'slug', 'isActive', 'createdAt', 'updatedAt')
  return rowJson(more ? sql`${columns}, ${more}` : columns)
}

const counts: SQL = sql`
  (select count(*) from users u where u.tenant_id = t.id and u.is_active) as user_count,
  (select count(*) from shopping_lists l where l.tenant_id = t.id and l.deleted_at is null) as list_count`

/** Read in the tenant's own scope: the system scope cannot see lists, not even to count them. */
export async function getTenant(deps: UserDeps, tenantId: string): Promise<string> {
  refusePlatform(tenantId)
  const [row] = await deps.db.read(
    { tenantId },
    sql<Body>`select ${tenantJson('t', counts)}::text as body from tenants t where t.id = ${tenantId}`,
  )
  if (!row) throw notFound('tenant')
  return row.body
}

interface Changed extends Body {
  epoch: number | null
}

/** Deactivating ends every session of the tenant's users. @throws AppError not_found, slug_taken */
export async function changeTenant(
  deps: UserDeps,
  actor: Caller,
  tenantId: string,
  change: TenantChange,
): Promise<string> {
  refusePlatform(tenantId)
  const [changed] = await deps.db
    .write(
      'system',
      sql`select from tenants where id = ${tenantId} for no key update`,
      changeStatement(actor, tenantId, change),
    )
    .catch((error: unknown) => {
      throw error instanceof ConstraintError && error.constraint === 'tenants_slug_key' ? slugTaken() : error
    })
  if (!changed) throw notFound('tenant')
  if (changed.epoch !== null)
    deps.revocations.learn({ tenantId, subject: tenantId, minimumEpoch: changed.epoch })
  return changed.body
}

const changeStatement = (actor: Caller, tenantId: string, change: TenantChange): SQL<Changed> => sql<Changed>`
  with target as (
    select t.*, coalesce(${change.name ?? null}::text, t.name) as new_name,
      coalesce(${change.slug ?? null}::text, t.slug) as new_slug,
      coalesce(${change.is_active ?? null}::boolean, t.is_active) as new_is_active
    from tenants t where t.id = ${tenantId}
  ), changed as (
    update tenants t set name = g.new_name, slug = g.new_slug, is_active = g.new_is_active,
      epoch = t.epoch + (t.is_active and not g.new_is_active)::int, updated_at = clock_timestamp()
    from target g
    where t.id = g.id and (t.name, t.slug, t.is_active) is distinct from (g.new_name, g.new_slug, g.new_is_active)
    returning t.*, g.is_active and not g.new_is_active as deactivated
  ), revoked as (
    insert into revocations (tenant_id, subject, minimum_epoch)
    select id, id, epoch from changed where deactivated ${onRepeatedRevocation}
  ), ${auditOfChange(actor, tenantId)}
  select coalesce((select ${tenantJson('c')} from changed c), ${tenantJson('t')})::text as body,
    (select epoch from changed where deactivated) as epoch
  from target t`

const auditOfChange = (actor: Caller, tenantId: string): SQL => {
  const [platforms, tenants] = auditOfTenant(
    actor,
    tenantId,
    {
      action: sql`case when g.is_active and not c.is_active then 'tenant.deactivated'
        when c.is_active and not g.is_active then 'tenant.reactivated' else 'tenant.changed' end`,
      details: differences('g', 'c', ['name', 'slug', 'is_active']),
    },
    sql`changed c, target g`,
  )
  return sql`audited as (${platforms}), audited_there as (${tenants})`
}

/** The platform's own tenant is not a customer: over the API it does not exist. */
function refusePlatform(tenantId: string): void {
  if (tenantId === platformTenantId) throw notFound('tenant')
}
