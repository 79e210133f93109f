/**
 * Revoked access tokens, known to every instance within a second. The database keeps them; each instance holds those
 * of the last access-token lifetime in memory and polls for new ones twice a second, so checking a token costs no round
 * trip. Redis plays no part: nothing it loses brings a token back to life.
 *
 * A row names a tenant, a subject (a session or user of it, or the tenant itself) and the epoch below which the
 * subject's tokens are dead. It is written in the transaction of the change that causes it. Rows must outlive refresh
 * tokens: the revocation of a session is also what refuses a refresh when the store could not be reached.
 *
 * A poll reads the rows of transactions that the snapshot of the poll before did not see, each once, however long its
 * transaction took to commit.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Database } from '../db/database.ts'
import type { Logger } from '../log.ts'

export interface Revocation {
  tenantId: string
  /** A session's, user's or tenant's id. */
  subject: string
  /** Tokens of a lower epoch are dead. A session's tokens have epoch 0. */
  minimumEpoch: number
  /** A session whose tokens stay good from this epoch on. */
  exempt?: { sessionId: string; fromEpoch: number }
}

export interface Revocations {
  /** @param subject a session or user of the tenant, or the tenant itself */
  covers(tenantId: string, subject: string, epoch: number, sessionId: string): boolean
  /** For the instance that made the change: takes effect immediately rather than with the next poll. */
  learn(revocation: Revocation): void
  /** Calls back with each newly revoked subject. @returns a function that stops it */
  onRevoked(listener: (tenantId: string, subject: string) => void): () => void
  /** Reads all that are still in force. @throws AppError database_unavailable */
  load(): Promise<void>
  /** Polls for new ones every `intervalMs`. @returns a function that stops it */
  poll(intervalMs: number): () => void
}

/** A statement of its own, or a step of another: `revoked as (${revocationStatement(...)})`. */
export const revocationStatement = ({ tenantId, subject, minimumEpoch }: Revocation): SQL => sql`
  insert into revocations (tenant_id, subject, minimum_epoch)
  values (${tenantId}, ${subject}, ${minimumEpoch}) ${onRepeatedRevocation}`

/** A later epoch replaces an earlier one. A session that is exempt twice in a row keeps its first epoch. */
export const onRepeatedRevocation: SQL = sql`
  on conflict (tenant_id, subject) do update set minimum_epoch = excluded.minimum_epoch,
    spared_session = excluded.spared_session, at = clock_timestamp(),
    spared_epoch = case
      when revocations.spared_session = excluded.spared_session
        and revocations.minimum_epoch = excluded.minimum_epoch - 1 then revocations.spared_epoch
      else excluded.spared_epoch end
  where revocations.minimum_epoch <= excluded.minimum_epoch`

interface Row {
  tenant_id: string
  subject: string
  minimum_epoch: number
  spared_session: string | null
  spared_epoch: number | null
}

/** Rows for one answer; more are fetched by a cursor. */
const pageSize = 1000

/** Another instance's clock may be ahead, and its tokens expire later than they say here. */
const clockSkewSeconds = 30

/** For maps: the same subject in another tenant is another one. */
export const subjectKey = (tenantId: string, subject: string): string => `${tenantId}/${subject}`

export function createRevocations(db: Database, log: Logger, tokenTtlSeconds: number): Revocations {
  const inForceSeconds = tokenTtlSeconds + clockSkewSeconds
  /** In the order in which they may be forgotten. */
  const known = new Map<string, Pick<Revocation, 'minimumEpoch' | 'exempt'> & { forgetAt: number }>()
  const listeners = new Set<(tenantId: string, subject: string) => void>()

  const learn = ({ tenantId, subject, minimumEpoch, exempt }: Revocation): void => {
    const key = subjectKey(tenantId, subject)
    const before = known.get(key)
    if (before && before.minimumEpoch > minimumEpoch) return
    const forgetAt = performance.now() + inForceSeconds * 1000
    known.delete(key)
    known.set(key, { minimumEpoch, ...(exempt ? { exempt } : {}), forgetAt })
    if (before?.minimumEpoch !== minimumEpoch) for (const listener of listeners) listener(tenantId, subject)
  }

  const learnAll = (rows: readonly Row[]): void => {
    for (const row of rows) {
      const { tenant_id: tenantId, subject, minimum_epoch: minimumEpoch, spared_session, spared_epoch } = row
      const isExempting = spared_session !== null && spared_epoch !== null
      const exempt = isExempting ? { exempt: { sessionId: spared_session, fromEpoch: spared_epoch } } : {}
      learn({ tenantId, subject, minimumEpoch, ...exempt })
    }
  }

  let seen = ''
  const load = async (): Promise<void> => {
    seen = await readRows(db, inForce, String(inForceSeconds), learnAll)
  }
  const readUnseen = async (): Promise<void> => {
    const before = seen
    seen = await readRows(db, unseen, before, learnAll)
    // An older copy of the database took its place and counts transactions anew.
    if (oldestOf(seen) < oldestOf(before)) await load()
  }

  return {
    covers(tenantId, subject, epoch, sessionId) {
      const revocation = known.get(subjectKey(tenantId, subject))
      if (revocation === undefined || epoch >= revocation.minimumEpoch) return false
      const { exempt } = revocation
      return exempt?.sessionId !== sessionId || epoch < exempt.fromEpoch
    },
    learn,
    onRevoked(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    load,
    poll: (intervalMs) => pollEvery(intervalMs, log, { load, readUnseen, forgetOld: () => forgetOld(known) }),
  }
}

interface Polled {
  load(): Promise<void>
  readUnseen(): Promise<void>
  forgetOld(): void
}

function pollEvery(intervalMs: number, log: Logger, { load, readUnseen, forgetOld }: Polled): () => void {
  let isFailing = false
  let timer: Timer | undefined
  let stopped = false
  const pollOnce = async (): Promise<void> => {
    try {
      // After an outage everything is read again: it may be another copy of the database that came back.
      await (isFailing ? load() : readUnseen())
      isFailing = false
    } catch (error) {
      if (!isFailing) log.warn('revocations cannot be read; will try again', { error })
      isFailing = true
    }
    forgetOld()
    if (!stopped) timer = setTimeout(pollOnce, intervalMs)
  }
  timer = setTimeout(pollOnce, intervalMs)
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}

function forgetOld(known: Map<string, { forgetAt: number }>): void {
  const now = performance.now()
  for (const [key, { forgetAt }] of known) {
    if (forgetAt >= now) return
    known.delete(key)
  }
}

/** The oldest transaction that a snapshot, `xmin:xmax:…`, may not have seen. It never goes back. */
const oldestOf = (snapshot: string): bigint => BigInt(snapshot.split(':')[0] ?? 0)

/** Conditions on a row of `revocations`, by one parameter. */
type Which = (parameter: SQL) => SQL

/** Written in the last `seconds`. */
const inForce: Which = (seconds) => sql`at > statement_timestamp() - make_interval(secs => (${seconds})::int)`

/**
 * Of transactions that a snapshot did not see, and this one does. A database that was copied to another server has
 * transaction ids from there, which are in the future here: these rows are read by `inForce`.
 */
const unseen: Which = (snapshot) => sql`transaction_id >= pg_snapshot_xmin((${snapshot})::pg_snapshot)
  and transaction_id < pg_snapshot_xmax(pg_current_snapshot())
  and not pg_visible_in_snapshot(transaction_id, (${snapshot})::pg_snapshot)`

/**
 * Passes on all such rows, in parts.
 * @returns the snapshot that they were read in, as text
 * @throws AppError database_unavailable
 */
async function readRows(
  db: Database,
  which: Which,
  parameter: string,
  pass: (rows: readonly Row[]) => void,
): Promise<string> {
  const [page] = await db.readUrgent(
    'system',
    sql<{ snapshot: string; rows: Row[] }>`
      select pg_current_snapshot()::text as snapshot, coalesce(json_agg(p), '[]') as rows
      from (select ${columns} from revocations where ${which(sql`${parameter}::text`)} limit ${pageSize + 1}::int) p`,
  )
  if (page && page.rows.length <= pageSize) {
    pass(page.rows)
    return page.snapshot
  }
  return await db.transaction(
    'system',
    async (query) => {
      const [start] = await query(
        sql<{ snapshot: string }>`
          select pg_current_snapshot()::text as snapshot, set_config('app.revocations', ${parameter}, true)`,
      )
      // A cursor takes no parameters.
      const rows = sql`select ${columns} from revocations where ${which(sql`current_setting('app.revocations')`)}`
      await query(sql`declare revocation_rows no scroll cursor for ${rows}`)
      for (;;) {
        const some = await query(sql<Row>`fetch ${sql.raw(String(pageSize))} from revocation_rows`)
        pass(some)
        if (some.length < pageSize) return start?.snapshot ?? ''
      }
    },
    'snapshot',
  )
}

const columns: SQL = sql.raw('tenant_id, subject, minimum_epoch, spared_session, spared_epoch')
