/** What `minimart check` tries, one thing after the other, each whether or not those before it were well. */

import { existsSync, readdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { type Config, ConfigError } from '../config/config.ts'
import { prepareDataDir, tryWriting } from '../data-dir/data-dir.ts'
import { holdsDatabase } from '../data-dir/layout.ts'
import type { MigrationConnection } from '../db/database.ts'
import { errorCode, SignInRefused } from '../db/errors.ts'
import {
  compareMigrations,
  ensureMayMigrate,
  type MigrationStatus,
  migrationStatus,
} from '../db/migrations/status.ts'
import { openDatabase, withMigrationConnection } from '../db/open.ts'
import { AppError, OperatorError } from '../errors.ts'
import { createPasswords } from '../features/auth/passwords.ts'
import { type Logger, redactText } from '../log.ts'
import { createMailer } from '../mail/mailer.ts'
import { isErrorReply, openRedisStore } from '../store/redis.ts'

export interface CheckLine {
  check: string
  /** Null where it could not be tried because of something told before. */
  ok: boolean | null
  detail: string
  /** What to do, where it is not ok. */
  remedy?: string
}

interface Probe {
  what: string
  remedy: string | ((error: unknown) => string)
  /** Answers what was found. @throws Error saying what is wrong */
  try: () => Promise<string>
}

export async function* probes(config: Config, log: Logger): AsyncGenerator<CheckLine> {
  const made = [config.dataDir, join(config.dataDir, 'outbox')].filter((folder) => !existsSync(folder))
  try {
    yield* tryAll(config, log)
  } finally {
    // Inside first; what somebody else has put something into meanwhile stays.
    for (const folder of made.toReversed())
      if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder)
  }
}

async function* tryAll(config: Config, log: Logger): AsyncGenerator<CheckLine> {
  const { folders, database, role, migrations, services } = probesOf(config, log)
  for (const probe of folders) yield await outcomeOf(probe)
  const reached = await outcomeOf(database)
  yield reached
  if (reached.ok === true) for (const probe of [role, migrations]) yield await outcomeOf(probe)
  else
    for (const { what } of [role, migrations])
      yield { check: what, ok: null, detail: 'not tried: the database cannot be used' }
  for (const probe of services) yield await outcomeOf(probe)
}

const outcomeOf = ({ what, remedy, try: attempt }: Probe): Promise<CheckLine> =>
  attempt().then(
    (detail) => ({ check: what, ok: true, detail }),
    (error: unknown) => ({
      check: what,
      ok: false,
      detail: wordsOf(error),
      remedy: typeof remedy === 'string' ? remedy : remedy(error),
    }),
  )

const wordsOf = (error: unknown): string =>
  error instanceof ConfigError
    ? error.faults.join('; ')
    : error instanceof Error
      ? error.message || errorCode(error)
      : String(error)

function probesOf(config: Config, log: Logger) {
  const options = { ...config, log, autoMigrate: false, waitSeconds: 0 }
  const none = config.databaseUrl === null && !holdsDatabase(config.dataDir)
  const folders: Probe[] = [
    {
      what: 'data folder',
      remedy: 'Set DATA_DIR to a folder that this user may write to, with room in it.',
      try: async () => {
        prepareDataDir(config.dataDir)
        tryWriting('DATA_DIR', config.dataDir)
        return `${config.dataDir} is writable`
      },
    },
    {
      what: 'temporary',
      remedy: 'Set TMPDIR to a folder that this user may write to, on a file system not mounted noexec.',
      try: async () => {
        tryWriting('TMPDIR', tmpdir())
        const passwords = await createPasswords({ concurrency: 1, maxWaiting: 1 })
        await passwords.hash('a password to try the hasher')
        return `${tmpdir()} is writable, and the password hasher works from there`
      },
    },
  ]
  const database: Probe = {
    what: 'database',
    remedy: (error) =>
      error instanceof SignInRefused
        ? "Mend DATABASE_URL, or the server's users, databases and pg_hba.conf."
        : config.databaseUrl
          ? 'Check DATABASE_URL, that the server runs, and that this machine may reach it.'
          : 'Stop the MiniMart that uses DATA_DIR, or mend what the message names.',
    try: async () => {
      if (none) return 'embedded, none yet: serve will make it'
      const version = await withMigrationConnection(options, async (connection) => {
        const [row] = await connection.query(`select current_setting('server_version') as version`)
        return String(row?.['version'])
      })
      return config.databaseUrl
        ? `PostgreSQL ${version} at ${new URL(config.databaseUrl).host}`
        : `embedded, PostgreSQL ${version}`
    },
  }
  const role: Probe = {
    what: 'role',
    remedy:
      'Connect as a user who owns the database and is neither superuser nor BYPASSRLS, or let it take minimart_app.',
    try: async () => (none ? roleWillBeMade : await tryRole(options)),
  }
  const migrations: Probe = {
    what: 'migrations',
    remedy: (error) =>
      error instanceof OperatorError
        ? 'Do what the message says; minimart migrate status lists how each migration stands.'
        : 'Apply what is pending with: minimart migrate up.',
    try: async () => {
      const steps = none ? compareMigrations([]) : await withMigrationConnection(options, stepsToTake)
      const pending = steps.filter(({ appliedAt }) => appliedAt === null).map(({ name }) => name)
      if (pending.length === 0) return `all ${steps.length} applied`
      if (config.autoMigrate) return `pending, serve will apply them: ${pending.join(', ')}`
      throw new Error(`pending, and AUTO_MIGRATE is false: ${pending.join(', ')}`)
    },
  }
  return { folders, database, role, migrations, services: [redisProbe(config), mailProbe(config, log)] }
}

/** @throws OperatorError where what is pending could not be applied */
async function stepsToTake(connection: MigrationConnection): Promise<MigrationStatus[]> {
  const steps = await migrationStatus(connection)
  if (steps.some(({ appliedAt }) => appliedAt === null)) await ensureMayMigrate(connection)
  return steps
}

const roleWillBeMade = 'minimart_app: the migrations will make it'

/** Opening it finds a role that row-level security applies to, or refuses; the table says whether it does apply. */
async function tryRole(options: Parameters<typeof openDatabase>[0]): Promise<string> {
  const [made] = await withMigrationConnection(options, (connection) => connection.query(roleToCome))
  if (made?.['missing'] === true) return roleWillBeMade
  const db = await openDatabase(options)
  try {
    const [row] = await db.read<{ user: string; active: boolean | null }>(
      'system',
      sql`select current_user as "user", row_security_active(to_regclass('tenants')) as active`,
    )
    if (row?.active === false) throw new Error(`row-level security does not apply to ${row.user}`)
    return row?.active === true
      ? `${row.user}: row-level security applies`
      : `${row?.user}: row-level security will apply once the tables are there`
  } finally {
    await db.close()
  }
}

const roleToCome = `select to_regrole('minimart_app') is null and (rolsuper or rolcreaterole)
  and to_regclass('tenants') is null as missing from pg_roles where rolname = current_user`

/** A server that answers, and says no. */
class RedisRefused extends Error {}

const redisProbe = ({ redisUrl }: Config): Probe => ({
  what: 'redis',
  remedy: (error) =>
    error instanceof RedisRefused
      ? 'Mend user, password and database number in REDIS_URL.'
      : 'Check REDIS_URL (rediss:// is for TLS alone), that the server runs, and that this machine may reach it.',
  try: async () => {
    if (redisUrl === null) return 'not used: state is kept in the database, for one instance'
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
    const store = await openRedisStore({ url: redisUrl, log: listening })
    try {
      await store.ping()
    } catch (error) {
      const words = `Redis at ${host} cannot be used: ${redactText(wordsOf(reason ?? error))}`
      throw isErrorReply(reason) ? new RedisRefused(words) : new Error(words)
    } finally {
      await store.close()
    }
    return `${host}: reached`
  },
})

const mailProbe = (config: Config, log: Logger): Probe => ({
  what: 'mail',
  remedy: config.smtpHost
    ? 'Check the SMTP_ settings, and that this machine may reach the mail server.'
    : 'Mend the folder outbox in DATA_DIR.',
  try: async () => {
    const mailer = createMailer({ config, dataDir: config.dataDir, log })
    try {
      await mailer.check()
    } finally {
      await mailer.drain(0)
    }
    return config.smtpHost ? `${config.smtpHost} lets us in` : 'no SMTP_HOST: mails go to the outbox folder'
  },
})
