/** The checks of `minimart check`, in order. Each runs whether or not the ones before it passed. */

import { existsSync, readdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { type Config, ConfigError } from '../config/config.ts'
import { prepareDataDir, tryWriting } from '../data-dir/data-dir.ts'
import { holdsDatabase } from '../data-dir/layout.ts'
import type { MigrationConnection } from '../db/database.ts'
import { errorCode, SignInRefused } from '../db/errors.ts'
import { applicationRole } from '../db/migrations/role.ts'
import {
  compareMigrations,
  ensureMayMigrate,
  type MigrationStatus,
  migrationStatus,
} from '../db/migrations/status.ts'
import { type DatabaseOptions, openDatabase, withMigrationConnection } from '../db/open.ts'
import { SessionsShared } from '../db/postgres/pooler.ts'
import { AppError, OperatorError } from '../errors.ts'
import { createPasswords } from '../features/auth/passwords.ts'
import { descriptorLimit, descriptorShortage } from '../lib/descriptors.ts'
import { type Logger, redactText } from '../log.ts'
import { createMailer } from '../mail/mailer.ts'
import { isErrorReply, openRedisStore } from '../store/redis.ts'
import { type Advice, adviseOnNeighbours } from './check-neighbours.ts'

export interface CheckLine {
  check: string
  /** Null when an earlier fault kept it from being tested, and for advice. */
  ok: boolean | null
  detail: string
  /** How to fix it, when it is not ok. */
  remedy?: string
}

interface Probe {
  what: string
  remedy: string | ((error: unknown) => string)
  /** @returns what was found. @throws Error saying what is wrong */
  run: () => Promise<string | Advice>
}

export async function* probes(config: Config, log: Logger): AsyncGenerator<CheckLine> {
  const created = [config.dataDir, join(config.dataDir, 'outbox')].filter((folder) => !existsSync(folder))
  try {
    yield* runAll(config, log)
  } finally {
    // The inner one first. One that is in use meanwhile stays.
    for (const folder of created.toReversed())
      if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder)
  }
}

async function* runAll(config: Config, log: Logger): AsyncGenerator<CheckLine> {
  const { machine, database, within, services } = probesOf(config, log)
  for (const probe of machine) yield await outcomeOf(probe)
  const reached = await outcomeOf(database)
  yield reached
  if (reached.ok === true) for (const probe of within) yield await outcomeOf(probe)
  else
    for (const { what } of within)
      yield { check: what, ok: null, detail: 'not tested: the database cannot be used' }
  for (const probe of services) yield await outcomeOf(probe)
}

const outcomeOf = ({ what, remedy, run }: Probe): Promise<CheckLine> =>
  run().then(
    (found) =>
      typeof found === 'string'
        ? { check: what, ok: true, detail: found }
        : { check: what, ok: null, ...found },
    (error: unknown) => ({
      check: what,
      ok: false,
      detail: messageOf(error),
      remedy: typeof remedy === 'string' ? remedy : remedy(error),
    }),
  )

const messageOf = (error: unknown): string =>
  error instanceof ConfigError
    ? error.faults.join('; ')
    : error instanceof Error
      ? error.message || errorCode(error)
      : String(error)

function probesOf(config: Config, log: Logger) {
  const options = { ...config, log, autoMigrate: false, waitSeconds: 0 }
  const target = {
    config,
    options,
    isMissing: config.databaseUrl === null && !holdsDatabase(config.dataDir),
  }
  return {
    machine: [dataDirProbe(config), temporaryProbe, descriptorsProbe],
    database: databaseProbe(target),
    within: [roleProbe(target), migrationsProbe(target), neighboursProbe(target)],
    services: [redisProbe(config), mailProbe(config, log)],
  }
}

const dataDirProbe = ({ dataDir }: Config): Probe => ({
  what: 'data folder',
  remedy: 'Set DATA_DIR to a folder that this user may write to, on a disk with free space.',
  run: async () => {
    prepareDataDir(dataDir)
    tryWriting('DATA_DIR', dataDir)
    return `${dataDir} is writable`
  },
})

const temporaryProbe: Probe = {
  what: 'temporary',
  remedy: 'Set TMPDIR to a folder that this user may write to, on a file system not mounted noexec.',
  run: async () => {
    tryWriting('TMPDIR', tmpdir())
    const passwords = await createPasswords({ concurrency: 1, maxWaiting: 1 })
    await passwords.hash('a password to test the hasher')
    return `${tmpdir()} is writable, and the password hasher works from there`
  },
}

const descriptorsProbe: Probe = {
  what: 'descriptors',
  remedy: 'Raise the hard limit for the user or the service that runs it.',
  run: async () => {
    const shortage = descriptorShortage()
    if (shortage !== null) throw new Error(shortage)
    return `${descriptorLimit() ?? 'an unknown number of'} file descriptors`
  },
}

interface DatabaseTarget {
  config: Config
  options: DatabaseOptions
  /** An embedded database that serve would create. */
  isMissing: boolean
}

const databaseProbe = ({ config, options, isMissing }: DatabaseTarget): Probe => ({
  what: 'database',
  remedy: (error) =>
    error instanceof SignInRefused
      ? "Correct DATABASE_URL, or the server's users, databases and pg_hba.conf."
      : error instanceof SessionsShared
        ? "Give this database pool_mode=session in the pooler's settings, or set DATABASE_URL to PostgreSQL itself."
        : config.databaseUrl
          ? 'Check DATABASE_URL, that the server runs, and that this machine can reach it.'
          : 'Stop the MiniMart that uses DATA_DIR, or fix what the message names.',
  run: async () => {
    if (isMissing) return 'embedded, none yet: serve will create it'
    const version = await withMigrationConnection(options, async (connection) => {
      const [row] = await connection.query(`select current_setting('server_version') as version`)
      return String(row?.['version'])
    })
    return config.databaseUrl
      ? `PostgreSQL ${version} at ${new URL(config.databaseUrl).host}`
      : `embedded, PostgreSQL ${version}`
  },
})

const roleProbe = ({ options, isMissing }: DatabaseTarget): Probe => ({
  what: 'role',
  remedy:
    'Connect as a user who owns the database and is neither superuser nor BYPASSRLS, or grant it the role that the ' +
    'message names.',
  run: async () => (isMissing ? 'the migrations will create it' : await checkRole(options)),
})

const neighboursProbe = ({ config, options }: DatabaseTarget): Probe => ({
  what: 'neighbours',
  remedy: 'Do what the message says.',
  run: async () =>
    config.databaseUrl === null
      ? 'none: the embedded database is not on a server'
      : await withMigrationConnection(options, adviseOnNeighbours),
})

const migrationsProbe = ({ config, options, isMissing }: DatabaseTarget): Probe => ({
  what: 'migrations',
  remedy: (error) =>
    error instanceof OperatorError
      ? 'Do what the message says; minimart migrate status lists the state of each migration.'
      : 'Apply the pending ones with: minimart migrate up.',
  run: async () => {
    const steps = isMissing ? compareMigrations([]) : await withMigrationConnection(options, readSteps)
    const pending = steps.filter(({ appliedAt }) => appliedAt === null).map(({ name }) => name)
    if (pending.length === 0) return `all ${steps.length} applied`
    if (config.autoMigrate) return `pending, serve will apply them: ${pending.join(', ')}`
    throw new Error(`pending, and AUTO_MIGRATE is false: ${pending.join(', ')}`)
  },
})

/** @throws OperatorError when pending migrations could not be applied */
async function readSteps(connection: MigrationConnection): Promise<MigrationStatus[]> {
  const steps = await migrationStatus(connection)
  if (steps.some(({ appliedAt }) => appliedAt === null)) await ensureMayMigrate(connection)
  return steps
}

/** Opening the database chooses the role, or refuses; here the table confirms that row-level security applies to it. */
async function checkRole(options: DatabaseOptions): Promise<string> {
  const missing = await withMigrationConnection(options, findMissingRole)
  if (missing !== null) return `${missing}: the migrations will create it`
  const db = await openDatabase(options)
  try {
    const [row] = await db.read<{ user: string; active: boolean | null }>(
      'system',
      sql`select current_user as "user", row_security_active(to_regclass('tenants')) as active`,
    )
    if (row?.active === false) throw new Error(`row-level security does not apply to ${row.user}`)
    return row?.active === true
      ? `${row.user}: row-level security applies`
      : `${row?.user}: row-level security will apply once the tables exist`
  } finally {
    await db.close()
  }
}

/** The role's name where serve would create it. */
async function findMissingRole(connection: MigrationConnection): Promise<string | null> {
  const role = await applicationRole(connection)
  const [user] = await connection.query(
    `select to_regrole('${role}') is null and (rolsuper or rolcreaterole) as missing from pg_roles where rolname = current_user`,
  )
  return user?.['missing'] === true ? role : null
}

/** Redis answers, but refuses the credentials or the database. */
class RedisRefused extends Error {}

const redisProbe = ({ redisUrl }: Config): Probe => ({
  what: 'redis',
  remedy: (error) =>
    error instanceof RedisRefused
      ? 'Correct user, password and database number in REDIS_URL.'
      : 'Check REDIS_URL (rediss:// is for TLS only), that the server runs, and that this machine can reach it.',
  run: async () => {
    if (redisUrl === null) return 'not used: one instance, with its state in the database'
    const { host } = new URL(redisUrl)
    let reason: unknown
    const ignore = (): void => undefined
    const listening: Logger = {
      ...{ debug: ignore, info: ignore, warn: ignore },
      error: (_, fields) => {
        const error = fields?.['error']
        reason ??= error instanceof AppError ? (error.cause ?? error) : error
      },
    }
    // A ping has no key, so the installation does not matter.
    const installation = { name: 'check', isUpgraded: false }
    const store = await openRedisStore({ url: redisUrl, installation, log: listening })
    try {
      await store.ping()
    } catch (error) {
      const message = `Redis at ${host} cannot be used: ${redactText(messageOf(reason ?? error))}`
      throw isErrorReply(reason) ? new RedisRefused(message) : new Error(message)
    } finally {
      await store.close()
    }
    return `${host}: reached`
  },
})

const mailProbe = (config: Config, log: Logger): Probe => ({
  what: 'mail',
  remedy: config.smtpHost
    ? 'Check the SMTP_ settings, and that this machine can reach the mail server.'
    : 'Make the folder outbox in DATA_DIR writable.',
  run: async () => {
    const mailer = createMailer({ config, dataDir: config.dataDir, log })
    try {
      await mailer.check()
    } finally {
      mailer.close()
    }
    return config.smtpHost
      ? `${config.smtpHost}: connected`
      : 'no SMTP_HOST: mails are written to the outbox folder'
  },
})
