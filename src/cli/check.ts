import type { Config } from '../config.ts'
import { prepareDataDir } from '../data-dir.ts'
import { openDatabase, withMigrationConnection } from '../db/client.ts'
import { migrationStatus } from '../db/migration-state.ts'
import { createPasswords } from '../features/auth/passwords.ts'
import type { Logger } from '../log.ts'
import { createMailer } from '../mail/mailer.ts'
import { openRedisStore } from '../store/redis.ts'
import { type Command, Failure } from './command.ts'
import { setUp } from './setup.ts'

interface Probe {
  what: string
  /** Answers what was found. @throws Error saying what to do */
  try: () => Promise<string>
}

export const check: Command = {
  summary: 'try the settings and every connection, without serving',
  details:
    'Nothing is changed: pending migrations are told, not applied. Exit code 1 when anything needs attention.',
  async run() {
    const { config, log } = setUp({}, 'error')
    report('settings', true, 'all variables are well-formed')
    let fine = true
    for (const { what, try: attempt } of probes(config, log)) {
      const outcome = await attempt().then(
        (found) => ({ ok: true, text: found }),
        (error: unknown) => ({ ok: false, text: error instanceof Error ? error.message : String(error) }),
      )
      report(what, outcome.ok, outcome.text)
      fine &&= outcome.ok
    }
    return fine ? 0 : 1
  },
}

function report(what: string, ok: boolean, text: string): void {
  if (!process.stdout.isTTY) console.log(JSON.stringify({ check: what, ok, detail: text }))
  else console.log(`${ok ? '\x1b[32m✓' : '\x1b[31m✗'}\x1b[0m ${what.padEnd(12)} ${text}`)
}

const probes = (config: Config, log: Logger): Probe[] => {
  const database = { ...config, log, autoMigrate: false, waitSeconds: 0 }
  return [
    {
      what: 'data folder',
      try: async () => {
        prepareDataDir(config.dataDir)
        return `${config.dataDir} is writable`
      },
    },
    {
      what: 'passwords',
      try: async () => {
        const passwords = await createPasswords({ concurrency: 1, maxWaiting: 1 })
        await passwords.hash('a password to try the hasher')
        return 'the hasher works'
      },
    },
    {
      what: 'migrations',
      try: async () => {
        const steps = await withMigrationConnection(database, (connection) => migrationStatus(connection))
        const pending = steps.filter(({ appliedAt }) => appliedAt === null).map(({ name }) => name)
        if (pending.length === 0) return `all ${steps.length} applied`
        if (config.autoMigrate) return `pending, serve will apply them: ${pending.join(', ')}`
        throw new Error(`pending: ${pending.join(', ')}; apply them with: minimart migrate up`)
      },
    },
    {
      what: 'database',
      try: async () => {
        const db = await openDatabase(database)
        await db.close()
        return `${db.kind}: reached, and its role cannot get around row-level security`
      },
    },
    {
      what: 'redis',
      try: async () => {
        if (config.redisUrl === null) return 'not used: state is kept in the database, for one instance'
        const { host } = new URL(config.redisUrl)
        const store = await openRedisStore({ url: config.redisUrl, log })
        try {
          await store.ping()
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error)
          throw new Failure(
            `Redis at ${host} cannot be used: ${reason} Check REDIS_URL and that the server runs.`,
          )
        } finally {
          await store.close()
        }
        return `${host}: reached`
      },
    },
    {
      what: 'mail',
      try: async () => {
        const mailer = createMailer({ config, dataDir: config.dataDir, log })
        try {
          await mailer.check()
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error)
          throw new Failure(`${reason}. Check ${config.smtpHost ? 'the SMTP_ settings' : 'DATA_DIR'}.`)
        } finally {
          await mailer.drain(0)
        }
        return config.smtpHost
          ? `${config.smtpHost} lets us in`
          : 'no SMTP_HOST: mails go to the outbox folder'
      },
    },
  ]
}
