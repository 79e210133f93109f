/**
 * Opens the database the settings name, PostgreSQL or the one in this process, behind one type. Migrations come
 * first, as the user who signs in; then the service steps down to a role to which row-level security applies.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { PGlite } from '@electric-sql/pglite'
import { databaseFolder, settleDataDir } from '../data-dir/layout.ts'
import { cannotOpen, lockDataDir } from '../data-dir/lock.ts'
import { OperatorError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Tracing } from '../tracing/tracing.ts'
import type { MeasuredDatabase, MigrationConnection } from './database.ts'
import { checkpointRegularly } from './embedded/checkpoints.ts'
import { createEmbeddedDatabase, type EmbeddedDatabase } from './embedded/database.ts'
import { connectionTo, openPglite } from './embedded/pglite.ts'
import { bringToRest, type Resting } from './embedded/quiesce.ts'
import { measureDatabase, type ObservedDatabase } from './instrumented.ts'
import { migrateUp } from './migrations/migrate.ts'
import { migrationStatus } from './migrations/status.ts'
import { createPostgresDatabase } from './postgres/database.ts'
import { chooseRole, ensureMayStepDown, signIn } from './postgres/login.ts'

export interface DatabaseOptions {
  /** Null for the embedded database in `dataDir`. */
  databaseUrl: string | null
  dataDir: string
  log: Logger
  /** Whether pending migrations are applied before anything else. */
  autoMigrate: boolean
  /** Whether to refuse a database that lacks migrations, which are not applied here. */
  refusePending?: boolean
  /** PostgreSQL connections for reads and writes; interactive transactions have a third as many besides. */
  poolSize?: number
  /** For each call of the Database. */
  deadlineMs?: number
  /** Calls that take longer are logged; 0 or left out: none are. */
  slowQueryMs?: number
  /** For a span of each call; null or left out: none. */
  tracing?: Tracing | null
  /** Of the embedded database; left out: five minutes. */
  checkpointEveryMs?: number
  /** How long to wait at start for a PostgreSQL that is away. */
  waitSeconds?: number
}

const defaults = { poolSize: 10, deadlineMs: 10_000, waitSeconds: 30, connectTimeoutSeconds: 5 }

/** @throws OperatorError, with a message for the operator, when the database cannot be used as it is set up */
export async function openDatabase(options: DatabaseOptions): Promise<ObservedDatabase> {
  const { databaseUrl, log, slowQueryMs = 0, tracing = null } = options
  const db = await (databaseUrl === null ? openEmbedded(options) : openPostgres(options, databaseUrl))
  return measureDatabase(db, { log, slowQueryMs, tracing })
}

/**
 * Gives `work` a connection for migrations (migrate.ts) and closes it. Embedded, this needs the data folder alone.
 * @throws OperatorError as openDatabase does
 */
export async function withMigrationConnection<T>(
  options: DatabaseOptions,
  work: (connection: MigrationConnection) => Promise<T>,
): Promise<T> {
  if (options.databaseUrl === null) {
    const { pglite, close } = await openDataDir(options)
    return await work(connectionTo(pglite)).finally(close)
  }
  const login = await signIn({ ...defaults, ...options, url: options.databaseUrl })
  return await work(login).finally(() => login.close())
}

/**
 * Gives `work` the files of the embedded database while nothing changes them.
 * @throws OperatorError when there is none or another process has it
 */
export async function withDataDirAtRest<T>(
  options: DataDirOptions,
  work: (resting: Resting) => Promise<T>,
): Promise<T> {
  if (!existsSync(options.dataDir)) ensureDatabaseIn(options.dataDir)
  const { pglite, close } = await openDataDir(options, true)
  return await bringToRest(connectionTo(pglite)).then(work).finally(close)
}

/**
 * What is in a database folder that nobody uses. It is written to, and the caller makes that reach the disk.
 * @throws whatever keeps it from being opened
 */
export async function inspectDatabase(folder: string): Promise<Resting> {
  const pglite = await openPglite(folder, false)
  return await bringToRest(connectionTo(pglite)).finally(() => pglite.close())
}

async function openPostgres(options: DatabaseOptions, url: string): Promise<MeasuredDatabase> {
  const all = { ...defaults, ...options, url }
  const login = await signIn(all)
  try {
    await ensureMayStepDown(login)
    await bringUpToDate(login, options)
  } finally {
    await login.close()
  }
  const role = await chooseRole(all)
  options.log.info('Database ready', { kind: 'postgres', role: role ?? 'the user of DATABASE_URL' })
  return createPostgresDatabase({ ...all, role })
}

async function openEmbedded(options: DatabaseOptions): Promise<EmbeddedDatabase> {
  const { pglite, close } = await openDataDir(options)
  try {
    await bringUpToDate(connectionTo(pglite), options)
    const { deadlineMs } = { ...defaults, ...options }
    const database = await createEmbeddedDatabase({
      pglite,
      deadlineMs,
      close: async () => {
        stopCheckpoints()
        await close()
      },
    })
    const stopCheckpoints = checkpointRegularly(database, options.log, options.checkpointEveryMs)
    options.log.info('Database ready', { kind: 'embedded', folder: options.dataDir })
    return database
  } catch (error) {
    await close()
    throw error
  }
}

async function bringUpToDate(connection: MigrationConnection, options: DatabaseOptions): Promise<void> {
  if (options.autoMigrate) await migrateUp(connection, options)
  if (!options.refusePending) return
  const pending = (await migrationStatus(connection)).filter(({ appliedAt }) => appliedAt === null)
  if (pending.length > 0)
    throw new OperatorError(
      `The database lacks migrations (${pending.map(({ name }) => name).join(', ')}), which are not applied here: ` +
        'apply them with minimart migrate up.',
    )
}

interface OpenDataDir {
  pglite: PGlite
  close(): Promise<void>
}

type DataDirOptions = Pick<DatabaseOptions, 'dataDir' | 'log'>

async function openDataDir({ dataDir, log }: DataDirOptions, mustExist = false): Promise<OpenDataDir> {
  const lock = lockDataDir(dataDir)
  try {
    settleDataDir(dataDir)
    if (mustExist) ensureDatabaseIn(dataDir)
    log.debug('Opening the embedded database', { folder: dataDir })
    const pglite = await openPglite(join(dataDir, databaseFolder))
    return { pglite, close: () => pglite.close().finally(lock.release) }
  } catch (error) {
    lock.release()
    log.debug('The embedded database does not open', { folder: dataDir, error })
    throw cannotOpen(error, dataDir)
  }
}

function ensureDatabaseIn(dataDir: string): void {
  if (existsSync(join(dataDir, databaseFolder, 'PG_VERSION'))) return
  throw new OperatorError(`There is no database in ${dataDir}; DATA_DIR says where to look.`)
}
