/**
 * Revoked access tokens, known to every instance within a second. The database keeps them; each instance holds those
 * of the last access-token lifetime in memory and polls for new ones twice a second, so checking a token costs no round
 * trip. Redis plays no part: nothing it loses brings a token back to life.
 *
 * A row names a session, a user or a tenant and the epoch below which its tokens are dead. It is written in the
 * transaction of the change that causes it. Rows must outlive refresh tokens: the revocation of a session is also what
 * refuses a refresh when the store could not be reached.
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
  covers(subject: string, epoch: number, sessionId: string): boolean
  /** For the instance that made the change: takes effect immediately rather than with the next poll. */
  learn(revocation: Revocation): void
  /** Calls back with each newly revoked subject. @returns a function that stops it */
  onRevoked(listener: (subject: string) => void): () => void
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
  subject: string
  minimum_epoch: number
  spared_session: string | null
  spared_epoch: number | null
}

/** A transaction that began earlier may commit later, so each poll looks back this far. */
const overlapSeconds = 30

export function createRevocations(db: Database, log: Logger, tokenTtlSeconds: number): Revocations {
  const known = new Map<string, Omit<Revocation, 'tenantId' | 'subject'> & { forgetAt: number }>()

  const listeners = new Set<(subject: string) => void>()

  const learn = ({ subject, minimumEpoch, exempt }: Omit<Revocation, 'tenantId'>): void => {
    const before = known.get(subject)
    if (before && before.minimumEpoch > minimumEpoch) return
    const isNew = before?.minimumEpoch !== minimumEpoch
    known.set(subject, {
      minimumEpoch,
      ...(exempt ? { exempt } : {}),
      forgetAt: performance.now() + (tokenTtlSeconds + overlapSeconds) * 1000,
    })
    if (isNew) for (const listener of listeners) listener(subject)
  }

  const readSince = async (seconds: number): Promise<void> => {
    const rows = await db.readUrgent(
      'system',
      sql<Row>`select subject, minimum_epoch, spared_session, spared_epoch from revocations
        where at > clock_timestamp() - make_interval(secs => ${seconds}::int)`,
    )
    for (const row of rows) {
      const { spared_session: sessionId, spared_epoch: fromEpoch } = row
      const exempt = sessionId === null || fromEpoch === null ? {} : { exempt: { sessionId, fromEpoch } }
      learn({ subject: row.subject, minimumEpoch: row.minimum_epoch, ...exempt })
    }
  }

  const forgetOld = (): void => {
    const now = performance.now()
    for (const [subject, { forgetAt }] of known) if (forgetAt < now) known.delete(subject)
  }

  return {
    covers(subject, epoch, sessionId) {
      const revocation = known.get(subject)
      if (revocation === undefined || epoch >= revocation.minimumEpoch) return false
      const { exempt } = revocation
      return exempt?.sessionId !== sessionId || epoch < exempt.fromEpoch
    },
    learn,
    onRevoked(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    load: () => readSince(tokenTtlSeconds + overlapSeconds),
    poll(intervalMs) {
      let isFailing = false
      let timer: Timer | undefined
      let stopped = false
      const pollOnce = async (): Promise<void> => {
        try {
          // After an outage everything is read again: more may have happened than the overlap covers.
          await readSince(isFailing ? tokenTtlSeconds + overlapSeconds : overlapSeconds)
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
    },
  }
}
