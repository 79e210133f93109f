import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import { openDatabase } from '../db/client.ts'
import { lockDataDir } from '../db/data-dir-lock.ts'
import type { Database } from '../db/database.ts'
import { DatabaseRefused } from '../db/errors.ts'
import { ArchiveRefused } from '../features/archive/refusal.ts'
import { createLogger } from '../log.ts'
import { Failure } from './command.ts'
import { setUp } from './setup.ts'

/** For one transaction over everything a tenant has. */
const deadlineMs = 24 * 60 * 60 * 1000

/**
 * Gives `work` the database that the settings name, and closes it. What is logged goes to standard error, for
 * standard output may carry an archive.
 * @param mayBeNew whether an embedded database is made where there is none
 * @param inUse what to do about a data folder that a running server holds
 * @throws Failure for what an archive, or the place for it, is refused for
 */
export async function withArchiveDatabase<T>(
  { mayBeNew, inUse }: { mayBeNew: boolean; inUse: string },
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const { config, pretty } = setUp()
  const log = createLogger({
    level: 'warn',
    format: pretty ? 'pretty' : 'json',
    write: (line) => process.stderr.write(line),
  })
  if (config.databaseUrl === null) ensureFree(config, mayBeNew, inUse)
  const db = await openDatabase({ ...config, log, deadlineMs, refusePending: !config.autoMigrate })
  try {
    return await work(db)
  } catch (error) {
    throw error instanceof ArchiveRefused ? new Failure(error.message) : error
  } finally {
    await db.close()
  }
}

function ensureFree({ dataDir }: Config, mayBeNew: boolean, inUse: string): void {
  if (!mayBeNew && !existsSync(join(dataDir, 'database', 'PG_VERSION')))
    throw new Failure(
      `There is no embedded database in ${dataDir}. Set DATA_DIR to the folder of one, or DATABASE_URL for PostgreSQL.`,
    )
  if (!existsSync(dataDir)) return
  try {
    lockDataDir(dataDir).release()
  } catch (error) {
    throw error instanceof DatabaseRefused
      ? new Failure(`A running MiniMart holds the embedded database in ${dataDir}. ${inUse}`)
      : error
  }
}
