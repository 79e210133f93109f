/** Claims rows of the outbox, attempts their mails, a few at a time, and records what became of them. */
import type { SQL } from 'drizzle-orm'
import type { Database } from '../db/database.ts'
import type { Logger } from '../log.ts'
import type { Mail } from './mail.ts'
import type { Mailer, Outcome } from './mailer.ts'
import { type ClaimedRow, claimRows, deleteRow, makeAllDue, renewRow, rescheduleRow } from './outbox-rows.ts'
import type { Sealing } from './sealing.ts'
import { maxConnections } from './transport.ts'

export interface SendingPolicy {
  /** Rows held at a time. */
  batch: number
  leaseMs: number
  /** The first pause; each next is four times as long, up to `maxPauseMs`, all with ±25 % jitter. */
  firstPauseMs: number
  maxPauseMs: number
  /** The last attempt is made this long after the mail was queued. */
  giveUpAfterMs: number
  /** A mail that has waited longer, in a backup perhaps, is not attempted at all. */
  staleAfterMs: number
}

export interface Sending {
  /** Takes what is due and begins to send it. Never rejects. */
  claim(): Promise<void>
  /** Makes all rows due: for the one instance of a database, which starts. Never rejects. */
  reclaim(): Promise<void>
  /** Keeps what is being sent from other instances. Never rejects. */
  renew(): Promise<void>
  /** Resolves once nothing is due and nothing is being sent. */
  drained(): Promise<void>
  /** Claims nothing more. What fails from now on is due at once, for another instance. */
  close(): void
  /** Mails being sent, or sent and not yet recorded. */
  readonly size: number
}

interface SendingOptions {
  db: Database
  sealing: Sealing
  mailer: Mailer
  log: Logger
  policy: SendingPolicy
}

/** Between two tries to record what became of a mail. */
const recordAgainAfterMs = 1000

export function createSending({ db, sealing, mailer, log, policy }: SendingOptions): Sending {
  /** By id. */
  const held = new Map<string, { row: ClaimedRow; settled: Promise<void> }>()
  const inSlot = createSlots(maxConnections)
  let claiming: Promise<void> | undefined
  let again = false
  let closed = false
  let failing = false

  /** An outage is logged once. @returns null while the database cannot be reached */
  const write = async <Row>(...statements: [...SQL[], SQL<Row>]): Promise<Row[] | null> => {
    try {
      const rows = await db.write('outbox', ...statements)
      failing = false
      return rows
    } catch (error) {
      if (!failing) log.warn('the outbox cannot be reached; mails wait', { error })
      failing = true
      return null
    }
  }

  const settle = async (row: ClaimedRow, mail: Mail | 'unreadable'): Promise<void> => {
    const claimedAt = performance.now()
    const retryInMs = (): number | null =>
      closed ? 0 : nextPauseMs(policy, row.attempt, row.ageMs + performance.now() - claimedAt)
    const outcome = await inSlot(() => attemptOf(mailer, policy, { row, mail, retryInMs }))
    const record = typeof outcome === 'string' ? deleteRow(row) : rescheduleRow(row, outcome.retryInMs)
    while ((await write(record)) === null && !closed) await Bun.sleep(recordAgainAfterMs)
    const wasFull = held.size >= policy.batch
    held.delete(row.id)
    if (wasFull) void claim()
  }

  const take = async (rows: readonly ClaimedRow[]): Promise<void> => {
    const decoys: SQL[] = []
    for (const row of rows) {
      const mail = sealing.open(row.id, row.sealed)
      if (mail === null) decoys.push(deleteRow(row))
      // After a standstill the lease of what is being sent may be over, and be taken by this instance itself.
      else if (!held.has(row.id)) held.set(row.id, { row, settled: settle(row, mail) })
    }
    const [last, ...others] = decoys
    if (last) await write(...others, last)
  }

  const claimAll = async (): Promise<void> => {
    do {
      again = false
      const room = closed ? 0 : policy.batch - held.size
      const rows = room > 0 ? await write(claimRows(room, policy.leaseMs)) : null
      if (rows) await take(rows)
      again ||= rows?.length === room
    } while (again)
    claiming = undefined
  }

  const claim = (): Promise<void> => {
    // What was committed just now may be newer than what the claim under way has seen.
    again = true
    // Deferred, or it could be over before it is assigned.
    claiming ??= Promise.resolve().then(claimAll)
    return claiming
  }

  return {
    claim,
    async reclaim() {
      await write(makeAllDue)
    },
    async renew() {
      const [last, ...others] = [...held.values()].map(({ row }) => renewRow(row, policy.leaseMs))
      if (last) await write(...others, last)
    },
    async drained() {
      do {
        await claim()
        await Promise.all([...held.values()].map(({ settled }) => settled))
      } while (held.size > 0)
    },
    close() {
      closed = true
    },
    get size() {
      return held.size
    },
  }
}

interface Attempt {
  row: ClaimedRow
  mail: Mail | 'unreadable'
  retryInMs: () => number | null
}

/** An unreadable mail is for an instance that has its key, or knows its form: a newer one. */
async function attemptOf(
  mailer: Mailer,
  { staleAfterMs }: SendingPolicy,
  { row, mail, retryInMs }: Attempt,
): Promise<Outcome> {
  if (mail === 'unreadable')
    return mailer.refuse(null, 'It was queued by a newer release, or sealed with another key.', retryInMs)
  if (row.ageMs > staleAfterMs) return mailer.refuse(mail, 'It has waited for too long.', () => null)
  return mailer.attempt({ id: row.id, mail, at: new Date(row.createdAt) }, row.attempt, retryInMs)
}

/** The last attempt is made when the time is over. */
function nextPauseMs(policy: SendingPolicy, attempt: number, waitedMs: number): number | null {
  const leftMs = policy.giveUpAfterMs - waitedMs
  if (leftMs <= 0) return null
  const jitter = 0.75 + Math.random() / 2
  return Math.min(policy.firstPauseMs * 4 ** (attempt - 1) * jitter, policy.maxPauseMs * jitter, leftMs)
}

/** At most `count` pieces of work at a time, first come, first served. */
function createSlots(count: number) {
  const waiting: (() => void)[] = []
  let free = count
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else free++
    }
  }
}
