/**
 * Revoked access tokens, known to every instance within a second. The database keeps them, each instance holds
 * those of the last access-token lifetime in memory and reads what is new twice a second; checking a token costs no
 * round trip. Redis plays no part, so nothing it loses brings a token back to life.
 *
 * A row names a session, a user or a tenant and the epoch below which its tokens are dead. Rows are written in the
 * transaction of the change that causes them; they must outlive refresh tokens, because a session's own revocation
 * is also what keeps a refresh from succeeding when the store could not be told.
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
  /** A session whose tokens stay good all the same, from this epoch on. */
  spared?: { sessionId: string; fromEpoch: number }
}

export interface Revocations {
  covers(subject: string, epoch: number, sessionId: string): boolean
  /** For the instance that made the change: effective at once instead of with the next read. */
  learn(revocation: Revocation): void
  /** Calls back with each subject that is newly revoked, until the answer is called. */
  onRevoked(listener: (subject: string) => void): () => void
  /** Reads everything that still counts. @throws AppError database_unavailable */
  load(): Promise<void>
  /** Begins reading what is new every `intervalMs`; the answer stops it. */
  follow(intervalMs: number): () => void
}

/** As a statement's step, e.g. `revoked as (${revocationStatement(...)})`, or on its own. */
export const revocationStatement = ({ tenantId, subject, minimumEpoch }: Revocation): SQL => sql`
  insert into revocations (tenant_id, subject, minimum_epoch)
  values (${tenantId}, ${subject}, ${minimumEpoch}) ${onRepeatedRevocation}`

/** A later epoch replaces an earlier one. A session that is spared twice in a row keeps what it was spared with. */
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

/** Transactions that began earlier may commit later; so far back each read looks again. */
const overlapSeconds = 30

export function createRevocations(db: Database, log: Logger, tokenTtlSeconds: number): Revocations {
  const known = new Map<string, Omit<Revocation, 'tenantId' | 'subject'> & { forgetAt: number }>()

  const listeners = new Set<(subject: string) => void>()

  const remember = ({ subject, minimumEpoch, spared }: Omit<Revocation, 'tenantId'>): void => {
    const before = known.get(subject)
    if (before && before.minimumEpoch > minimumEpoch) return
    const isNews = before?.minimumEpoch !== minimumEpoch
    known.set(subject, {
      minimumEpoch,
      ...(spared ? { spared } : {}),
      forgetAt: Date.now() + (tokenTtlSeconds + overlapSeconds) * 1000,
    })
    if (isNews) for (const listener of listeners) listener(subject)
  }

  const readSince = async (seconds: number): Promise<void> => {
    const rows = await db.read(
      'system',
      sql<Row>`select subject, minimum_epoch, spared_session, spared_epoch from revocations
        where at > clock_timestamp() - make_interval(secs => ${seconds}::int)`,
    )
    for (const row of rows) {
      const { spared_session: sessionId, spared_epoch: fromEpoch } = row
      const spared = sessionId === null || fromEpoch === null ? {} : { spared: { sessionId, fromEpoch } }
      remember({ subject: row.subject, minimumEpoch: row.minimum_epoch, ...spared })
    }
  }

  const forgetOld = (): void => {
    const now = Date.now()
    for (const [subject, { forgetAt }] of known) if (forgetAt < now) known.delete(subject)
  }

  return {
    covers(subject, epoch, sessionId) {
      const revocation = known.get(subject)
      if (revocation === undefined || epoch >= revocation.minimumEpoch) return false
      const { spared } = revocation
      return spared?.sessionId !== sessionId || epoch < spared.fromEpoch
    },
    learn: remember,
    onRevoked(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    load: () => readSince(tokenTtlSeconds + overlapSeconds),
    follow(intervalMs) {
      let away = false
      let timer: Timer | undefined
      let stopped = false
      const turn = async (): Promise<void> => {
        try {
          // After an absence all of it is read again: more may have happened than the overlap covers.
          await readSince(away ? tokenTtlSeconds + overlapSeconds : overlapSeconds)
          away = false
        } catch (error) {
          if (!away) log.warn('revocations cannot be read; trying again', { error })
          away = true
        }
        forgetOld()
        if (!stopped) timer = setTimeout(turn, intervalMs)
      }
      timer = setTimeout(turn, intervalMs)
      return () => {
        stopped = true
        clearTimeout(timer)
      }
    },
  }
}
