/**
 * Opens the database that the settings name, PostgreSQL or the embedded one, behind one type. Migrations come first, as
 * the user who signs in; then the service steps down to a role to which row-level security applies.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { PGlite } from '@electric-sql/pglite'
import { databaseFolder, settleDataDir } from '../data-dir/layout.ts'
import { cannotOpen, lockDataDir } from '../data-dir/lock.ts'
import { OperatorError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Tracing } from '../tracing/tracing.ts'
import type { DatabaseAdapter, MigrationConnection } from './database.ts'
import { startCheckpoints } from './embedded/checkpoints.ts'
import { createEmbeddedDatabase, type EmbeddedDatabase } from './embedded/database.ts'
import { startMaintenance } from './embedded/maintenance.ts'
import { connectionTo, openPglite } from './embedded/pglite.ts'
import { type Checkpoint, makeCheckpoint } from './embedded/quiesce.ts'
import { type InstrumentedDatabase, instrumentDatabase } from './instrumented.ts'
import { migrateUp } from './migrations/migrate.ts'
import { migrationStatus } from './migrations/status.ts'
import { createPostgresDatabase } from './postgres/database.ts'
import { chooseRole, ensureCanStepDown, signIn } from './postgres/login.ts'
import { shareCalls } from './shares.ts'

export interface DatabaseOptions {
  /** Null for the embedded database in `dataDir`. */
  databaseUrl: string | null
  dataDir: string
  log: Logger
  /** Whether to apply pending migrations. */
  autoMigrate: boolean
  /** Whether to throw where migrations are still pending. */
  refusePending?: boolean
  /** PostgreSQL connections for reads and writes; three more serve urgent reads and interactive transactions. */
  poolSize?: number
  /** For each call. */
  deadlineMs?: number
  /** Calls that take longer are logged; 0, the default, logs none. */
  slowQueryMs?: number
  /** Default: no spans. */
  tracing?: Tracing | null
  /** Of the embedded database; five minutes by default. */
  checkpointEveryMs?: number
  /** Likewise; a minute by default. */
  maintainEveryMs?: number
  /** How long to wait for a PostgreSQL that cannot be reached at start. */
  waitSeconds?: number
}

const defaults = { poolSize: 13, deadlineMs: 10_000, waitSeconds: 30, connectTimeoutSeconds: 5 }

/** @throws OperatorError when the database cannot be used as it is set up */
export async function openDatabase(options: DatabaseOptions): Promise<InstrumentedDatabase> {
  const { databaseUrl, log, slowQueryMs = 0, tracing = null } = options
  const db = await (databaseUrl === null ? openEmbedded(options) : openPostgres(options, databaseUrl))
  return instrumentDatabase(shareCalls(db), { log, slowQueryMs, tracing })
}

/**
 * Runs `work` with a connection for migrations (migrate.ts). Embedded, no other process may have the data folder.
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
 * Runs `work` while nothing changes the files of the embedded database.
 * @throws OperatorError when there is no database or another process has it open
 */
export async function withQuiescedDataDir<T>(
  options: DataDirOptions,
  work: (checkpoint: Checkpoint) => Promise<T>,
): Promise<T> {
  // Before the lock, which would create the folder.
  if (!existsSync(options.dataDir)) throw noDatabaseIn(options.dataDir)
  const { pglite, close } = await openDataDir(options, true)
  return await makeCheckpoint(connectionTo(pglite)).then(work).finally(close)
}

/**
 * Describes the database in a folder that nobody uses. Opening it writes to the folder without fsync, which is left to
 * the caller.
 * @throws whatever keeps it from opening
 */
export async function inspectDatabase(folder: string): Promise<Checkpoint> {
  const pglite = await openPglite(folder, false)
  return await makeCheckpoint(connectionTo(pglite)).finally(() => pglite.close())
}

async function openPostgres(options: DatabaseOptions, url: string): Promise<DatabaseAdapter> {
  const all = { ...defaults, ...options, url }
  const login = await signIn(all)
  const choose = async (): Promise<string | null> => {
    await ensureCanStepDown(login)
    await ensureMigrated(login, options)
    return await chooseRole(login)
  }
  const role = await choose().finally(login.close)
  options.log.info('Database ready', { kind: 'postgres', role: role ?? 'the user of DATABASE_URL' })
  return createPostgresDatabase({ ...all, role })
}

async function openEmbedded(options: DatabaseOptions): Promise<EmbeddedDatabase> {
  const { pglite, close } = await openDataDir(options)
  try {
    await ensureMigrated(connectionTo(pglite), options)
    const { deadlineMs } = { ...defaults, ...options }
    const database = await createEmbeddedDatabase({
      pglite,
      deadlineMs,
      close: async () => {
        stopCheckpoints()
        stopMaintenance()
        await close()
      },
    })
    const stopCheckpoints = startCheckpoints(database, options.log, options.checkpointEveryMs)
    const stopMaintenance = startMaintenance(database, options.log, options.maintainEveryMs)
    options.log.info('Database ready', { kind: 'embedded', folder: options.dataDir })
    return database
  } catch (error) {
    await close()
    throw error
  }
}

async function ensureMigrated(connection: MigrationConnection, options: DatabaseOptions): Promise<void> {
  if (options.autoMigrate) await migrateUp(connection, options)
  if (!options.refusePending) return
  const pending = (await migrationStatus(connection)).filter(({ appliedAt }) => appliedAt === null)
  if (pending.length > 0)
    throw new OperatorError(
      `The database lacks migrations (${pending.map(({ name }) => name).join(', ')}), which are not applied ` +
        'automatically here. Run minimart migrate up.',
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
    if (mustExist && !existsSync(join(dataDir, databaseFolder, 'PG_VERSION'))) throw noDatabaseIn(dataDir)
    log.debug('Opening the embedded database', { folder: dataDir })
    const pglite = await openPglite(join(dataDir, databaseFolder))
    return { pglite, close: () => pglite.close().finally(lock.release) }
  } catch (error) {
    lock.release()
    log.debug('Opening the embedded database failed', { folder: dataDir, error })
    throw cannotOpen(error, dataDir)
  }
}

const noDatabaseIn = (dataDir: string): OperatorError =>
  new OperatorError(`There is no database in ${dataDir}. Set DATA_DIR to the folder that holds it.`)
