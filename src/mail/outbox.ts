/**
 * Mails wait in the database, in the commit of what causes them, so that no crash loses one. Whichever instance claims a
 * row sends its mail, retries for an hour with growing pauses, and deletes the row once the mail is sent or given up. A
 * wake-up in this process makes that prompt; polling finds retries, and what other instances left behind.
 *
 * A claim is a lease, renewed while the mail is being sent: of an instance that died, another takes over within seconds.
 * A mail is sent twice only where the mail server's answer is lost, the process dies between that answer and the deletion
 * of the row, or it stands still for longer than a lease. Both have the same Message-ID.
 */
import { type SQL, sql } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { Database } from '../db/database.ts'
import { newId } from '../lib/ids.ts'
import type { Logger } from '../log.ts'
import type { Mail } from './mail.ts'
import type { Mailer } from './mailer.ts'
import { type Depth, depth, insertRow } from './outbox-rows.ts'
import type { Sealing } from './sealing.ts'
import { createSending, type SendingPolicy } from './sending.ts'
import { maxConnections } from './transport.ts'

export interface Outbox {
  /**
   * A statement that queues a mail, in the scope of that tenant or of the system; wake the outbox after the commit.
   * @param tenantId who causes it: the platform where nobody is signed in
   * @param mail null: a decoy, for an address that gets none
   * @param from a from clause; without a row in it nothing is queued
   * @throws ConstraintError `mail_outbox_room` when too many mails wait
   */
  queue(tenantId: string, mail: Mail | null, from?: SQL): SQL
  wake(): void
}

/** The end that sends. */
export interface OutboxSender extends Outbox {
  start(): void
  /** Stops polling and sends what is due, for `timeoutMs` at most. */
  drain(timeoutMs: number): Promise<void>
  /** Cuts off what is still being sent, and leaves it to the next instance. Closes the mailer. */
  close(): Promise<void>
  /** As of the last poll. */
  depth(): Depth
}

export interface OutboxOptions {
  db: Database
  sealing: Sealing
  mailer: Mailer
  log: Logger
  policy?: Partial<OutboxPolicy>
}

export interface OutboxPolicy extends SendingPolicy {
  /** Varied by a quarter, so that instances started together do not poll together. */
  pollEveryMs: number
}

const defaultPolicy: OutboxPolicy = {
  batch: 5 * maxConnections,
  leaseMs: 10_000,
  pollEveryMs: 5000,
  firstPauseMs: 2000,
  maxPauseMs: 600_000,
  giveUpAfterMs: 3_600_000,
  staleAfterMs: 86_400_000,
}

/** For attempts that are cut off to be recorded. */
const cutOffMs = 500

export function createOutbox(options: OutboxOptions): OutboxSender {
  const { db, sealing, mailer, log } = options
  const policy = { ...defaultPolicy, ...options.policy }
  const sending = createSending({ db, sealing, mailer, log, policy })
  let seen: Depth = { queued: 0, oldestSeconds: 0 }
  let pollTimer: Timer | undefined
  let renewTimer: Timer | undefined
  let stopped = false

  const poll = async (): Promise<void> => {
    await sending.claim()
    // An outage is the claim's to log.
    const [found] = await db.read('outbox', depth).catch(() => [])
    seen = found ?? seen
    const pauseMs = policy.pollEveryMs * (0.75 + Math.random() / 2)
    if (!stopped) pollTimer = setTimeout(poll, pauseMs).unref()
  }

  return {
    queue: (tenantId, mail, from = sql`(select) once`) => {
      const id = newId()
      return insertRow(tenantId, id, sealing.seal(id, mail), from)
    },
    wake: () => void sending.claim(),
    start() {
      renewTimer = setInterval(sending.renew, policy.leaseMs / 3).unref()
      // No other instance can hold anything: a process that was killed does not delay its mails.
      void (db.kind === 'embedded' ? sending.reclaim() : Promise.resolve()).then(poll)
    },
    async drain(timeoutMs) {
      stopped = true
      clearTimeout(pollTimer)
      await pTimeout(sending.drained(), { milliseconds: timeoutMs, message: false })
    },
    async close() {
      sending.close()
      mailer.close()
      await pTimeout(sending.drained(), { milliseconds: cutOffMs, message: false })
      clearInterval(renewTimer)
      if (sending.size > 0) log.warn('mails are left to the next instance', { mails: sending.size })
    },
    depth: () => seen,
  }
}
