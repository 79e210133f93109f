import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { onFolderOrCopy } from '../backup/source.ts'
import type { Config } from '../config.ts'
import { openDatabase } from '../db/client.ts'
import { DataDirTaken } from '../db/data-dir-lock.ts'
import { databaseFolder } from '../db/data-dir-place.ts'
import type { Database } from '../db/database.ts'
import { type ExportOptions, recordExport } from '../features/archive/export.ts'
import type { Logger } from '../log.ts'
import { Failure } from './command.ts'
import { tellAsked } from './embedded-only.ts'
import { setUp } from './setup.ts'

/** For one transaction over everything a tenant has. */
const deadlineMs = 24 * 60 * 60 * 1000

type Work<T> = (db: Database) => Promise<T>
export type Source = { db: Database } & Pick<ExportOptions, 'record'>
type Settings = { config: Config; log: Logger }

/** What is logged goes to standard error, for standard output may carry an archive. */
const readSettings = (): Settings => setUp({}, 'warn', process.stderr)

/**
 * Gives `work` the database that the settings name, and closes it; of an embedded one that a server has, a copy.
 */
export async function withDatabaseToExport<T>(work: (source: Source) => Promise<T>): Promise<T> {
  const { config, log } = readSettings()
  const { databaseUrl, dataDir } = config
  const own = (): Promise<T> =>
    withDatabase({ config, log }, (db) => work({ db, record: (entry) => recordExport(db, entry) }))
  if (databaseUrl !== null) return await own()
  if (!existsSync(join(dataDir, databaseFolder, 'PG_VERSION')))
    throw new Failure(
      `There is no embedded database in ${dataDir}. Set DATA_DIR to the folder of one, or DATABASE_URL for PostgreSQL.`,
    )
  return await onFolderOrCopy(
    { dataDir, copyFor: 'export', asked: tellAsked },
    own,
    (folder, { gone, record }) =>
      withDatabase({ config: { ...config, dataDir: folder }, log }, (db) => work({ db, record })).catch(
        (error: unknown) => {
          // The copy went with the server, and what was being read of it is not what is at fault.
          throw gone.aborted ? gone.reason : error
        },
      ),
  )
}

/** The same for an import, which has an embedded database to itself; where there is none it is made. @throws Failure */
export async function withDatabaseToImport<T>(work: Work<T>): Promise<T> {
  const settings = readSettings()
  try {
    return await withDatabase(settings, work)
  } catch (error) {
    if (!(error instanceof DataDirTaken)) throw error
    throw new Failure(
      `A running MiniMart holds the embedded database in ${settings.config.dataDir}. Stop it for the import, or import into ` +
        'PostgreSQL, where it may go on serving.',
    )
  }
}

async function withDatabase<T>({ config, log }: Settings, work: Work<T>): Promise<T> {
  const db = await openDatabase({ ...config, log, deadlineMs, refusePending: !config.autoMigrate })
  return await work(db).finally(() => db.close())
}
