import { statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ExportOptions, recordExport } from '../archive/export.ts'
import { onFolderOrCopy } from '../backup/source.ts'
import type { Config } from '../config/config.ts'
import { explainFileError } from '../data-dir/disk-error.ts'
import { databaseFolder } from '../data-dir/layout.ts'
import { DataDirTaken } from '../data-dir/lock.ts'
import type { Database } from '../db/database.ts'
import { openDatabase } from '../db/open.ts'
import { OperatorError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { reportServer } from './embedded-database.ts'
import { setUp } from './setup.ts'

/** For a transaction over all rows of a tenant. */
const deadlineMs = 24 * 60 * 60 * 1000

export type Source = { db: Database } & Pick<ExportOptions, 'record'>
type Settings = { config: Config; log: Logger }
type Migrations = 'apply' | 'refuse pending'

/** Logs to standard error: standard output may carry an archive. */
const readSettings = (): Settings => setUp({}, 'warn', process.stderr)

/**
 * Opens the database that the settings name for `work`; if a running server has it open, a copy, which is the only
 * thing that is ever migrated here.
 */
export async function withDatabaseToExport<T>(work: (source: Source) => Promise<T>): Promise<T> {
  const { config, log } = readSettings()
  const { databaseUrl, dataDir } = config
  const own = (): Promise<T> =>
    withDatabase({ config, log }, 'refuse pending', (db) =>
      work({ db, record: (entry) => recordExport(db, entry) }),
    )
  if (databaseUrl !== null) return await own()
  if (!hasDatabase(dataDir))
    throw new OperatorError(
      `There is no embedded database in ${dataDir}. Set DATA_DIR to the folder of one, or DATABASE_URL for PostgreSQL.`,
    )
  return await onFolderOrCopy(
    { dataDir, copyFor: 'export', onServer: reportServer },
    own,
    (folder, { record }) =>
      withDatabase({ config: { ...config, dataDir: folder }, log }, 'apply', (db) => work({ db, record })),
  )
}

/**
 * Opens the database that the settings name for an import, and creates an embedded one that does not exist yet.
 * @param dryRun migrates nothing, and creates nothing but a temporary database
 */
export async function withDatabaseToImport<T>(
  dryRun: boolean,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const settings = readSettings()
  const { config } = settings
  if (dryRun && config.databaseUrl === null && !hasDatabase(config.dataDir))
    return await withTemporaryFolder((dataDir) =>
      withDatabase({ ...settings, config: { ...config, dataDir } }, 'apply', work),
    )
  try {
    return await withDatabase(settings, dryRun || !config.autoMigrate ? 'refuse pending' : 'apply', work)
  } catch (error) {
    if (!(error instanceof DataDirTaken)) throw error
    throw new OperatorError(
      `A running MiniMart has the embedded database in ${config.dataDir} open. Stop it for the import; only an import ` +
        'into PostgreSQL can run beside a server.',
    )
  }
}

function hasDatabase(dataDir: string): boolean {
  try {
    return statSync(join(dataDir, databaseFolder, 'PG_VERSION'), { throwIfNoEntry: false }) !== undefined
  } catch (error) {
    return explainFileError(error, dataDir)
  }
}

async function withTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'minimart-dry-run-'))
  return await work(folder).finally(() => rm(folder, { recursive: true, force: true }))
}

/** Without slow-query warnings: the one transaction is expected to take long. */
async function withDatabase<T>(
  { config, log }: Settings,
  migrations: Migrations,
  work: (db: Database) => Promise<T>,
): Promise<T> {
  const refusePending = migrations === 'refuse pending'
  const options = { ...config, log, deadlineMs, slowQueryMs: 0, autoMigrate: !refusePending, refusePending }
  const db = await openDatabase(options)
  return await work(db).finally(() => db.close())
}
