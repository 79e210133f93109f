/**
 * Announces to a tenant's admins which accounts will be removed. Users count as announced once the mail server has
 * accepted a mail: a crash in between leads to a second mail, never to none. So these mails do not go through the outbox:
 * what is not announced is announced by the next round. Waiting for a mail server must not hold a transaction open, so a
 * lease in the store keeps other instances from announcing the same users.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { RateLimits } from '../../access/rate-limits.ts'
import type { Database } from '../../db/database.ts'
import { newId } from '../../lib/ids.ts'
import type { Mailer } from '../../mail/mailer.ts'
import { removalNoticeMail } from '../../mail/templates.ts'
import type { Store } from '../../store/store.ts'
import { daysBefore } from './expired-rows.ts'
import { noticeDays, notifiableAdmins } from './unverified-users.ts'

const announcedAfterDays = 6
const maxTenants = 1000
const maxPeople = 1000
const maxAdmins = 20
const maxMs = 10 * 60_000
/** Longer than an attempt may take; after a crash the announcement is late by as much. */
const leaseSeconds = 600

export interface NoticeDeps {
  db: Database
  store: Pick<Store, 'compareAndSet'>
  mailer: Pick<Mailer, 'deliver'>
  limits: Pick<RateLimits, 'mayMail'>
  now: SQL
  isStopping: () => boolean
}

/** @param onAnnounced called with the number of users announced, per tenant @throws AppError database_unavailable, redis_unavailable */
export async function announceRemovals(
  deps: NoticeDeps,
  onAnnounced: (people: number) => void,
): Promise<void> {
  const giveUpAt = performance.now() + maxMs
  // In random order, so that tenants whose mails keep failing do not hold up the others.
  const tenants = await deps.db.read(
    'housekeeping',
    sql<{ id: string }>`select t.id from tenants t where t.is_active
      and exists (select from users u where u.tenant_id = t.id and ${isDue(deps.now)} and exists (${notifiableAdmins}))
      order by random() limit ${maxTenants}::int`,
  )
  for (const { id } of tenants) {
    if (deps.isStopping() || performance.now() > giveUpAt) return
    await underLease(deps.store, `removal-notice:${id}`, async () => onAnnounced(await announce(deps, id)))
  }
}

const isDue = (now: SQL): SQL => sql`
  not u.email_verified and u.role <> 'super_admin' and u.removal_announced_at is null
  and u.created_at <= ${daysBefore(now, announcedAfterDays)}
  and u.updated_at <= ${daysBefore(now, announcedAfterDays)}`

async function underLease(store: NoticeDeps['store'], key: string, work: () => Promise<void>): Promise<void> {
  const holder = newId()
  if (!(await store.compareAndSet(key, null, holder, leaseSeconds))) return
  try {
    await work()
  } finally {
    await store.compareAndSet(key, holder, null, 0)
  }
}

interface Recipient {
  id: string
  email: string
  fullName: string
}

/** Under the lease. @returns how many users were announced */
async function announce({ db, mailer, limits, now }: NoticeDeps, tenantId: string): Promise<number> {
  const [people, admins] = await Promise.all([
    db.read(
      'housekeeping',
      sql<Recipient & { staysUntil: string }>`
        select u.id, u.email, u.full_name as "fullName",
          wire_time(${now} + make_interval(days => ${noticeDays}::int)) as "staysUntil"
        from users u where u.tenant_id = ${tenantId} and ${isDue(now)}
        order by u.created_at, u.id limit ${maxPeople}::int`,
    ),
    db.read(
      'housekeeping',
      sql<Recipient>`
        select a.id, a.email, a.full_name as "fullName" from users a
        where a.tenant_id = ${tenantId} and a.role = 'tenant_admin' and a.is_active and a.email_verified
        order by a.created_at, a.id limit ${maxAdmins}::int`,
    ),
  ])
  const [first] = people
  if (!first) return 0
  const staysUntil = new Date(first.staysUntil)
  const accepted = await Promise.all(
    admins.map(
      async (to) =>
        (await limits.mayMail(to.email)) && mailer.deliver(removalNoticeMail({ to, people, staysUntil })),
    ),
  )
  if (!accepted.includes(true)) return 0
  const announced = await db.write(
    'housekeeping',
    sql<{ id: string }>`update users u set removal_announced_at = ${now}
      where u.tenant_id = ${tenantId} and ${isDue(now)}
        and u.id in (select id::uuid from jsonb_array_elements_text(${JSON.stringify(people.map(({ id }) => id))}::jsonb) id)
      returning u.id`,
  )
  return announced.length
}
