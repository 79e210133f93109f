/**
 * One instance at a time, in steps so short that nobody has to wait for them: each is a transaction of its own that
 * works under the lock or not at all. Between two steps another instance may take over.
 */
import { sql } from 'drizzle-orm'
import type { Database, Query } from '../../db/database.ts'

/** Another instance holds the lock. */
export class TakenElsewhere extends Error {
  override readonly name = 'TakenElsewhere'
}

/** @throws TakenElsewhere, having changed nothing */
export type InTurn = <T>(work: (query: Query) => Promise<T>) => Promise<T>

export const createTurns =
  (db: Database): InTurn =>
  (work) =>
    db.transaction('housekeeping', async (query) => {
      const [lock] = await query(
        sql<{
          taken: boolean
        }>`select pg_try_advisory_xact_lock(hashtextextended('minimart:housekeeping', 0)) as taken`,
      )
      if (!lock?.taken) throw new TakenElsewhere()
      return work(query)
    })
