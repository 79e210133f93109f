/**
 * Audit of failures: refused sign-ins, codes and passwords. Strangers make them as many as they like, so what they take
 * is bounded: attempts at addresses of nobody are counted by address block, reason and hour, and those for one account
 * past the first 20 of an hour by hour. Those that arrive while one statement runs share the next: however many they
 * are, they hold one connection.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Source } from '../../access/actor.ts'
import { blockOf } from '../../access/client-address.ts'
import type { Database } from '../../db/database.ts'
import { platformTenantId } from '../../db/schema.ts'
import { AppError } from '../../errors.ts'
import { newId } from '../../lib/ids.ts'
import { type AuditAction, countedForAccount, listedPerHour, requestIdOf } from '../audit/entry.ts'

export interface Attempt {
  action: Extract<AuditAction, `auth.${string}_failed`>
  /** The address that was given, known or not; null where nothing leads to one. */
  email: string | null
  source: Source
}

export interface FailedAttempts {
  /** Resolves once it is recorded. @throws AppError database_unavailable, busy (503) */
  record(attempt: Attempt, reason: string): Promise<void>
  /** Recorded since the start, by what they were for. */
  counts(): ReadonlyMap<string, number>
}

interface Entry {
  id: string
  /** Of the entry that counts it, if it is the first one to be counted there. */
  counter_id: string
  action: AuditAction
  email: string | null
  reason: string
  address: string | null
  block: string
  request_id: string | null
}

const maxWaiting = 1000

export function createFailedAttempts(db: Database): FailedAttempts {
  const counts = new Map([
    ['account', 0],
    ['nobody', 0],
  ])
  const count = (of: string, more: number): void => void counts.set(of, (counts.get(of) ?? 0) + more)
  let waiting: { entry: Entry; done: PromiseWithResolvers<void> }[] = []
  let isWriting = false

  const writeWaiting = async (): Promise<void> => {
    isWriting = true
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      try {
        const [row] = await db.write('system', recordStatement(batch.map(({ entry }) => entry)))
        const ofNobody = row?.nobody ?? 0
        count('nobody', ofNobody)
        count('account', batch.length - ofNobody)
        for (const { done } of batch) done.resolve()
      } catch (error) {
        for (const { done } of batch) done.reject(error)
      }
    }
    isWriting = false
  }

  return {
    record({ action, email, source }, reason) {
      if (waiting.length >= maxWaiting)
        throw new AppError('busy', 'Too many attempts are refused right now. Try again in a moment.', {
          retryAfterSeconds: 2,
        })
      const { address } = source
      const entry = {
        ...{ id: newId(), counter_id: newId(), action, email, reason, address },
        ...{ block: blockOf(address ?? 'unknown'), request_id: requestIdOf(null, source) },
      }
      const done = Promise.withResolvers<void>()
      waiting.push({ entry, done })
      if (!isWriting) void writeWaiting()
      return done.promise
    },
    counts: () => counts,
  }
}

/** Neither a password that is too weak nor an exhausted limit (422, 429) is a guess. */
const recordedStatuses: ReadonlySet<number> = new Set([400, 401, 403])

/** Runs `work` and, when it is refused, records that before it is answered. */
export async function recordingFailure<T>(
  failedAttempts: FailedAttempts,
  attempt: Attempt,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof AppError && recordedStatuses.has(error.status))
      await failedAttempts.record(attempt, error.code)
    throw error
  }
}

/** The same for known addresses and unknown ones, so that its time reveals nothing. */
const recordStatement = (entries: readonly Entry[]): SQL<{ nobody: number }> => sql<{ nobody: number }>`
  with attempt as materialized (
    select a.*, coalesce(u.tenant_id, ${platformTenantId}::uuid) as tenant_id, u.id as user_id,
      date_trunc('hour', statement_timestamp(), 'UTC') as hour, coalesce(u.id::text, a.block) as subject,
      case when u.id is null then a.action else ${countedForAccount}::text end as counted_as,
      case when u.id is null then a.reason else '' end as counted_reason
    from jsonb_to_recordset(${JSON.stringify(entries)}::jsonb) as a
      (id uuid, counter_id uuid, action text, email text, reason text, address text, block text, request_id text)
    left join lateral (
      select tenant_id, id from users where email = a.email order by email_verified desc, created_at desc limit 1
    ) u on true
  ), counted as (
    insert into refusal_counts as c (tenant_id, id, hour, subject, action, reason, count, listed)
    select tenant_id, (array_agg(counter_id))[1], hour, subject, counted_as, counted_reason, count(*),
      user_id is null or count(*) > ${listedPerHour}::int
    from attempt group by tenant_id, hour, subject, counted_as, counted_reason, user_id
    order by tenant_id, hour, subject, counted_as, counted_reason
    on conflict (tenant_id, hour, subject, action, reason) do update
      set count = c.count + excluded.count, last_at = clock_timestamp(),
        listed = excluded.listed or c.count + excluded.count > ${listedPerHour}::int
    returning tenant_id, subject, count
  ), listed as (
    insert into audit_log (tenant_id, id, action, target_type, target_id, details, address, request_id)
    select a.tenant_id, a.id, a.action, 'user', a.user_id,
      jsonb_build_object('email', a.email, 'reason', a.reason), a.address, a.request_id
    from (
      select *, row_number() over (partition by tenant_id, subject order by id) as nth,
        count(*) over (partition by tenant_id, subject) as here
      from attempt where user_id is not null
    ) a join counted c on c.tenant_id = a.tenant_id and c.subject = a.subject
    where c.count - a.here + a.nth <= ${listedPerHour}::int
  )
  select count(*)::int as nobody from attempt where user_id is null`
