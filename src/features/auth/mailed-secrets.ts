/**
 * A code or a link that is mailed when somebody asks for it, whoever that is. Within two minutes of the last one nothing
 * new is made or mailed, or a stranger could keep making those worthless that are on their way.
 *
 * Nor may the time of an answer reveal who has an account: an address that gets nothing takes the same steps on entries
 * that mean nothing, down to a decoy among the mails.
 */
import { randomInt } from 'node:crypto'
import type { SQL } from 'drizzle-orm'
import type { RateLimits } from '../../access/rate-limits.ts'
import type { Database } from '../../db/database.ts'
import { platformTenantId } from '../../db/schema.ts'
import { logFailure } from '../../lib/background.ts'
import type { Logger } from '../../log.ts'
import type { Mail } from '../../mail/mail.ts'
import type { Outbox } from '../../mail/outbox.ts'
import type { Store } from '../../store/store.ts'

export interface MailDeps {
  db: Database
  log: Logger
  outbox: Outbox
  limits: RateLimits
}

export interface MailedSecret {
  value: string
  /** Puts back what there was before: for a mail that could not be queued. */
  withdraw(): Promise<unknown>
}

export interface SecretHolder {
  userId: string
  email: string
}

/** @param issuedAt milliseconds since 1970 */
export const isOnItsWay = (issuedAt: number): boolean => Math.abs(Date.now() - issuedAt) < 120_000

/** In place of a user's id. A few, so that entries do not pile up and callers do not wait for each other. */
export const nobody = (): string => `nobody ${randomInt(64)}`

const nobodysTtlSeconds = 1

interface Renewal {
  store: Store
  /** Null: nobody. */
  holder: SecretHolder | null
  mayMail: RateLimits['mayMail']
  key: string
  ttlSeconds: number
  /** Reads the entry. `next` holds the new secret beside what stays good; null where none is due. */
  read: () => Promise<{ before: string | null; fits: boolean; next: string | null }>
}

/**
 * Stores a new secret, if one is due and may be mailed. Whatever the outcome: a read, a question to the limit, a write.
 * @returns how to withdraw it, or null where there is none
 */
export async function renewEntry(renewal: Renewal): Promise<MailedSecret['withdraw'] | null> {
  const { store, holder, mayMail, key, ttlSeconds, read } = renewal
  for (;;) {
    const { before: found, fits, next } = await read()
    const isWanted = holder !== null && next !== null
    const isAllowed = await mayMail(isWanted ? holder.email : null)
    if (!isWanted || !isAllowed) {
      await store.set(nobody(), '', nobodysTtlSeconds)
      return null
    }
    // What does not fit may be no text that could be compared.
    if (!fits) await store.delete(key)
    const before = fits ? found : null
    if (await store.compareAndSet(key, before, next, ttlSeconds))
      return () => store.compareAndSet(key, next, before, ttlSeconds)
  }
}

/**
 * Queues the mail, or a decoy where there is none, and returns once that is committed.
 * @param secret what the mail holds
 * @param audit statements of the same commit
 * @throws AppError busy, database_unavailable (503), having withdrawn the secret
 */
export async function mailSecret(
  { db, log, outbox }: MailDeps,
  secret: MailedSecret | null,
  mail: Mail | null,
  ...audit: SQL[]
): Promise<void> {
  try {
    await db.write('system', ...audit, outbox.queue(platformTenantId, mail))
  } catch (error) {
    if (secret) await logFailure(log, 'withdrawing a code or link that cannot be mailed', secret.withdraw())
    throw error
  }
  outbox.wake()
}
