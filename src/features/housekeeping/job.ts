/**
 * Clearing away what has had its time: events that are replayed no more, expired store entries, old audit entries and
 * revocations, and people who never proved their address. Every instance has this job; one at a time is at it. A round
 * is bounded, and what is left then goes with the next.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Config } from '../../config/config.ts'
import type { Database } from '../../db/database.ts'
import type { Logger } from '../../log.ts'
import { expiredEvents } from './expired-events.ts'
import {
  type Bounds,
  type Clearing,
  expiredAuditEntries,
  expiredStoreEntries,
  oldRevocations,
} from './expired-rows.ts'
import { createTurns, TakenElsewhere } from './lock.ts'
import { announceRemovals, type NoticeDeps } from './removal-notices.ts'
import { newRound, type Round } from './round.ts'
import { removeUnverifiedUsers } from './unverified-users.ts'

export interface HousekeepingOptions {
  config: Pick<Config, 'eventRetentionDays' | 'auditRetentionDays'>
  db: Database
  store: NoticeDeps['store']
  mailer: NoticeDeps['mailer']
  log: Logger
  /** Told of every round. */
  observe?: (round: Round) => void
  /** For tests, which cannot wait for days. */
  now?: SQL
  batchSize?: number
  maxBatches?: number
}

export interface HousekeepingTimes {
  /** Give or take a half, so that instances that were started together do not come together. */
  firstAfterMs: number
  everyMs: number
}

export interface Housekeeping {
  /** One round. Never rejects: what went wrong is in the outcome and, the first time, in the log. */
  run(): Promise<Round>
  start(times?: HousekeepingTimes): void
  /** Begins nothing any more and waits for what is under way, at most some seconds. */
  stop(): Promise<void>
}

/** The embedded database has one session: a batch keeps everyone else waiting, some ten milliseconds. */
const batchSizes = { postgres: 1000, embedded: 200 }
/** Of each kind in a round. */
const usualMaxBatches = 10_000
/** Others come first. */
const pauseMs = 20
const usualTimes: HousekeepingTimes = { firstAfterMs: 120_000, everyMs: 3_600_000 }
const stopWithinMs = 3000

export function createHousekeeping(options: HousekeepingOptions): Housekeeping {
  const { config, db, log, observe, now = sql`statement_timestamp()` } = options
  const { batchSize = batchSizes[db.kind], maxBatches = usualMaxBatches } = options
  const inTurn = createTurns(db)
  const rounds = new Set<Promise<Round>>()
  let timer: Timer | undefined
  let stopping = false
  let failing = false
  const isStopping = (): boolean => stopping

  const clear = async ({ what, next }: Clearing, round: Round): Promise<void> => {
    for (let batches = 0; batches < maxBatches && !stopping; batches++) {
      const { removed, isLast } = await inTurn(next)
      round.removed[what] += removed
      if (isLast) return
      await Bun.sleep(pauseMs)
    }
  }

  const clearAll = async (round: Round): Promise<void> => {
    const bounds: Bounds = { now, batchSize }
    await clear(expiredEvents(bounds, config.eventRetentionDays), round)
    await clear(expiredStoreEntries(bounds), round)
    await clear(expiredAuditEntries(bounds, config.auditRetentionDays), round)
    await clear(oldRevocations(bounds), round)
    await removeUnverifiedUsers({ db, inTurn, now, isStopping }, () => {
      round.removed.unverified_users += 1
    })
    // At the end, for mail servers can take their time.
    await announceRemovals({ ...options, now, isStopping }, (people) => {
      round.announced += people
    })
  }

  const runOnce = async (): Promise<Round> => {
    const round = newRound()
    const begun = performance.now()
    try {
      await clearAll(round)
      failing = false
    } catch (error) {
      round.outcome = error instanceof TakenElsewhere ? 'elsewhere' : 'failed'
      if (round.outcome === 'failed' && !failing && !stopping)
        log.warn('housekeeping failed; trying again at its next time', { error })
      if (round.outcome === 'failed') failing = true
    }
    round.seconds = (performance.now() - begun) / 1000
    const total = Object.values(round.removed).reduce((sum, removed) => sum + removed, round.announced)
    if (total > 0) log.info('housekeeping', { ...round.removed, announced_removals: round.announced })
    observe?.(round)
    return round
  }

  const run = async (): Promise<Round> => {
    const running = runOnce()
    rounds.add(running)
    return await running.finally(() => rounds.delete(running))
  }

  return {
    run,
    start({ firstAfterMs, everyMs } = usualTimes) {
      const next = (afterMs: number): void => {
        if (stopping) return
        timer = setTimeout(() => void run().then(() => next(everyMs)), afterMs)
        timer.unref()
      }
      next(firstAfterMs * (0.5 + Math.random()))
    },
    async stop() {
      stopping = true
      clearTimeout(timer)
      const late = Promise.withResolvers<void>()
      const patience = setTimeout(late.resolve, stopWithinMs)
      await Promise.race([Promise.all(rounds), late.promise])
      clearTimeout(patience)
    },
  }
}
