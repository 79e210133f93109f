/**
 * Deletes what has expired: events too old to be replayed, items deleted before them, store entries, old audit entries,
 * revocations and spent invitations, and users who never verified their address. Every instance runs this job, one at a
 * time. A round is bounded; the next one goes on from there. The embedded database is vacuumed afterwards.
 */
import { type SQL, sql } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { Config } from '../../config/config.ts'
import type { Database } from '../../db/database.ts'
import type { InstrumentedDatabase } from '../../db/instrumented.ts'
import type { Logger } from '../../log.ts'
import { expiredEvents } from './expired-events.ts'
import {
  type Bounds,
  type CleanupTask,
  expiredAuditEntries,
  expiredAuditRefusals,
  expiredStoreEntries,
  oldDeletedItems,
  oldKeyedCalls,
  oldRevocations,
  oldSpentInvitations,
} from './expired-rows.ts'
import type { KeptBytesCount } from './kept-bytes.ts'
import { createLock, LockedElsewhere } from './lock.ts'
import { announceRemovals, type NoticeDeps } from './removal-notices.ts'
import { newRound, type Round } from './round.ts'
import { retireSharedRole } from './shared-role.ts'
import { removeUnverifiedUsers } from './unverified-users.ts'

export interface HousekeepingOptions {
  config: Pick<Config, 'eventRetentionDays' | 'auditRetentionDays' | 'auditRefusalsRetentionDays'>
  db: Database & Pick<InstrumentedDatabase, 'maintain'>
  store: NoticeDeps['store']
  mailer: NoticeDeps['mailer']
  limits: NoticeDeps['limits']
  keptBytes: Pick<KeptBytesCount, 'count'>
  log: Logger
  /** Called after every round. */
  observe?: (round: Round) => void
  /** For tests. Default: the database's clock. */
  now?: SQL
  batchSize?: number
  maxBatches?: number
}

export interface HousekeepingTimes {
  /** Varied by half, so that instances started together do not run together. */
  firstAfterMs: number
  everyMs: number
}

export interface Housekeeping {
  /** One round. Never rejects: a failure is in the outcome and, the first time, in the log. */
  run(): Promise<Round>
  start(times?: HousekeepingTimes): void
  /** Starts nothing new and waits for running rounds, for 3 seconds at most. */
  stop(): Promise<void>
}

/** Rows. The embedded database has one session: a batch keeps everyone else waiting for some ten milliseconds. */
const batchSizes = { postgres: 1000, embedded: 200 }
/** Per kind and round. */
const defaultMaxBatches = 10_000
/** Between two batches, for other work. */
const pauseMs = 20
const defaultTimes: HousekeepingTimes = { firstAfterMs: 120_000, everyMs: 3_600_000 }
const stopWithinMs = 3000

export function createHousekeeping(options: HousekeepingOptions): Housekeeping {
  const { config, db, log, observe, now = sql`statement_timestamp()` } = options
  const { batchSize = batchSizes[db.kind], maxBatches = defaultMaxBatches } = options
  const underLock = createLock(db)
  const rounds = new Set<Promise<Round>>()
  let timer: Timer | undefined
  let stopping = false
  let failing = false
  const isStopping = (): boolean => stopping

  const runTask = async ({ what, next }: CleanupTask, round: Round): Promise<void> => {
    for (let batches = 0; batches < maxBatches && !stopping; batches++) {
      const { removed, isLast } = await underLock(next)
      round.removed[what] += removed
      if (isLast) return
      await Bun.sleep(pauseMs)
    }
  }

  const runTasks = async (round: Round): Promise<void> => {
    const bounds: Bounds = { now, batchSize }
    const refusalsDays = Math.min(config.auditRefusalsRetentionDays, config.auditRetentionDays)
    await options.keptBytes.count()
    await runTask(expiredEvents(bounds, config.eventRetentionDays), round)
    await runTask(oldDeletedItems(bounds, config.eventRetentionDays), round)
    await runTask(oldKeyedCalls(bounds, config.eventRetentionDays), round)
    await runTask(expiredStoreEntries(bounds), round)
    await runTask(expiredAuditRefusals(bounds, refusalsDays), round)
    await runTask(expiredAuditEntries(bounds, config.auditRetentionDays), round)
    await runTask(oldRevocations(bounds), round)
    await runTask(oldSpentInvitations(bounds), round)
    if (!stopping) await retireSharedRole(underLock, log)
    await removeUnverifiedUsers({ db, underLock, now, isStopping }, () => {
      round.removed.unverified_users += 1
    })
    await maintain(options, isStopping)
    // Last, because mail servers can be slow.
    await announceRemovals({ ...options, now, isStopping }, (people) => {
      round.announced += people
    })
  }

  const runOnce = async (): Promise<Round> => {
    const round = newRound()
    const begun = performance.now()
    try {
      await runTasks(round)
      failing = false
    } catch (error) {
      round.outcome = error instanceof LockedElsewhere ? 'elsewhere' : 'failed'
      if (round.outcome === 'failed' && !failing && !stopping)
        log.warn('housekeeping failed; will try again in the next round', { error })
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
    start({ firstAfterMs, everyMs } = defaultTimes) {
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
      await pTimeout(Promise.all(rounds), { milliseconds: stopWithinMs, fallback: () => [] })
    },
  }
}

async function maintain(
  { db, log }: Pick<HousekeepingOptions, 'db' | 'log'>,
  isStopping: () => boolean,
): Promise<void> {
  const done = await db.maintain?.(() => Bun.sleep(pauseMs).then(() => !isStopping()))
  if (done && done.statements > 0)
    log.info('embedded database vacuumed', { statements: done.statements, longest_ms: done.longestMs })
}
