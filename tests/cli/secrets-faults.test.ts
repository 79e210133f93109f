/** When the database, Redis or the mail server refuses a sign-in, everything is reported except the password. */
import { expect, test } from 'bun:test'
import { createLogger } from '../../src/log.ts'
import { createClient } from '../support/client.ts'
import { freshEmail, goodPassword, superAdmin } from '../support/people.ts'
import { testPostgres } from '../support/postgres.ts'
import { describeExecutable } from '../support/program.ts'
import { testRedis } from '../support/redis.ts'
import { describeFull, startServer } from '../support/server.ts'
import { startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'

const password = 'open-sesame'
const signingKey = 'tests only: a key to look for in what is printed'

test('a refused sign-in at the mail server is logged in full at debug level, without the password', async () => {
  const inbox = await startInbox({ credentials: { user: 'mailer', password: 'another' } })
  const server = await startServer('embedded', {
    SMTP_HOST: inbox.host,
    SMTP_PORT: String(inbox.port),
    SMTP_USER: 'mailer',
    SMTP_PASSWORD: password,
    JWT_SECRET_KEY: signingKey,
    LOG_LEVEL: 'debug',
  })
  try {
    const admin = { email: freshEmail(), full_name: 'A', password: goodPassword }
    await (await superAdmin(server)).api.post('/tenants', { name: 'T', admin })
    await createClient(server.url).post('/auth/forgot-password', { email: server.superAdmin.email })
    await until(() => server.log.messages().includes('mail failed'), 'a mail that could not be sent')
    const reasons = server.log.lines.flatMap(({ fields }) => fields?.['reason'] ?? [])
    expect(reasons.join()).toContain('wrong user or password')
    for (const format of ['json', 'pretty'] as const) {
      const lines: string[] = []
      const logger = createLogger({ level: 'debug', format, write: (line) => lines.push(line) })
      for (const { level, message, fields } of server.log.lines) logger[level](message, fields)
      const printed = lines.join('')
      for (const secret of [
        password,
        Buffer.from(password).toString('base64'),
        signingKey,
        goodPassword,
        admin.email,
      ])
        expect(printed).not.toContain(secret)
      expect(printed).toContain('mail failed')
    }
  } finally {
    await server.stop()
    await inbox.stop()
  }
}, 60_000)

describeExecutable('a command', (program) => {
  describeFull('with PostgreSQL and Redis', () => {
    test('that is refused by the database, Redis or the mail server prints what to do, and no password', async () => {
      const [postgres, redis, inbox] = await Promise.all([
        testPostgres(),
        testRedis(),
        startInbox({ credentials: { user: 'mailer', password: 'another' } }),
      ])
      const withPassword = (address: string, user: string): string =>
        Object.assign(new URL(address), { username: user, password }).href
      const env = {
        DATABASE_URL: withPassword(postgres.url, 'stranger'),
        REDIS_URL: withPassword(redis.url, 'stranger'),
        SMTP_HOST: inbox.host,
        SMTP_PORT: String(inbox.port),
        SMTP_USER: 'mailer',
        SMTP_PASSWORD: password,
        SUPER_ADMIN_EMAIL: 'root@platform.example',
        SUPER_ADMIN_PASSWORD: `${password} and more`,
        JWT_SECRET_KEY: signingKey,
        JWT_PREVIOUS_SECRET_KEYS: `${signingKey}, earlier`.replace(',', ''),
        LOG_LEVEL: 'debug',
        PORT: '0',
      }
      const commands = [
        ['check'],
        ['serve'],
        ['migrate', 'status'],
        ['create-admin', '--email', 'a@b.example'],
      ]
      const runs = await Promise.all(
        commands.map((args) => program.run(args, { env, stdin: `${password}-admin\n` })),
      )
      // Without Redis it serves, not ready, and keeps reconnecting.
      const { url } = await postgres.createDatabase()
      const serving = await (await program.start(['serve'], { env: { ...env, DATABASE_URL: url } })).ready()
      const signIn = { email: env.SUPER_ADMIN_EMAIL, password: env.SUPER_ADMIN_PASSWORD }
      expect((await createClient(serving.url).post('/auth/login', signIn)).status).toBe(503)
      serving.signal('SIGTERM')
      expect(await serving.exited).toBe(0)
      await inbox.stop()
      expect(runs.map(({ code }) => code)).toEqual([1, 1, 1, 1])
      const printed = [
        ...runs.map(({ stdout, stderr }) => `${stdout}${stderr}`),
        `${serving.output()}${serving.errors()}`,
      ]
      for (const text of printed) {
        for (const secret of [password, Buffer.from(password).toString('base64'), signingKey])
          expect(text).not.toContain(secret)
      }
      for (const what of ['stranger', '"redis","ok":false', '"mail","ok":false'])
        expect(printed[0]).toContain(what)
      expect(printed[4]).toContain('Redis')
    }, 60_000)
  })
})
