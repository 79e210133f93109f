/**
 * Housekeeping runs on one instance at a time, in steps short enough that nobody waits for them: each is a transaction
 * of its own that holds the lock or does nothing. Another instance may take over between two steps.
 */
import { sql } from 'drizzle-orm'
import type { Database, Query } from '../../db/database.ts'

/** Another instance holds the lock. */
export class LockedElsewhere extends Error {
  override readonly name = 'LockedElsewhere'
}

/** @throws LockedElsewhere, having changed nothing */
export type UnderLock = <T>(work: (query: Query) => Promise<T>) => Promise<T>

export const createLock =
  (db: Database): UnderLock =>
  (work) =>
    db.transaction('housekeeping', async (query) => {
      const [lock] = await query(
        sql<{
          taken: boolean
        }>`select pg_try_advisory_xact_lock(hashtextextended('minimart:housekeeping', 0)) as taken`,
      )
      if (!lock?.taken) throw new LockedElsewhere()
      return work(query)
    })
