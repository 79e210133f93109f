/** A process that is killed between its answer and the sending of the mail loses none. */
import { expect, test } from 'bun:test'
import postgres from 'postgres'
import { createClient } from '../support/client.ts'
import { freshEmail, goodPassword, signIn } from '../support/people.ts'
import { testPostgres } from '../support/postgres.ts'
import { asServer, describeExecutable, environmentFor, type Running } from '../support/program.ts'
import { testRedis } from '../support/redis.ts'
import { type Backend, describeFull } from '../support/server.ts'
import { codeIn, type Inbox, startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'

describeExecutable('a program that is killed', (program) => {
  interface World {
    backend: Backend
    inbox: Inbox
    env: Record<string, string>
  }

  const start = async ({ env }: World): Promise<Running> => (await program.start([], { env })).ready()

  /** Creates a tenant, whose admin is mailed a code, on a mail server that takes a message and never answers. */
  async function answerAndDie(world: World, running: Running): Promise<string> {
    const { inbox, backend, env } = world
    const server = asServer(running, { backend, inbox, environment: env })
    const root = await signIn(server, server.superAdmin.email, server.superAdmin.password)
    inbox.behave({ hangAt: 'message' })
    const email = freshEmail('waiting')
    const admin = { email, full_name: 'Waiting', password: goodPassword }
    const made = await createClient(running.url, root.access_token).post('/tenants', { name: 'T', admin })
    expect(made.status).toBe(201)
    await until(() => inbox.attempts() > 0, 'an attempt')
    running.signal('SIGKILL')
    expect(await running.exited).toBe(128 + 9)
    expect(inbox.mails).toEqual([])
    inbox.behave('accept')
    return email
  }

  async function verify({ inbox }: World, { url }: Running, email: string): Promise<void> {
    const otp = codeIn(await inbox.waitFor(email))
    expect((await createClient(url).post('/auth/verify-email', { email, otp })).status).toBe(200)
    expect(inbox.mails).toHaveLength(1)
  }

  const stop = async (running: Running): Promise<void> => {
    running.signal('SIGTERM')
    expect(await running.exited).toBe(0)
  }

  test('on the embedded database: its next start sends the mail', async () => {
    const inbox = await startInbox()
    const world = {
      backend: 'embedded' as const,
      inbox,
      env: environmentFor(inbox, await program.dataDir('migrated')),
    }
    const email = await answerAndDie(world, await start(world))
    const next = await start(world)
    await verify(world, next, email)
    await stop(next)
    await inbox.stop()
  })

  describeFull('with PostgreSQL and Redis', () => {
    test('another instance sends the mail', async () => {
      const [server, redis, inbox] = await Promise.all([testPostgres(), testRedis(), startInbox()])
      const database = await server.createDatabase()
      const env = {
        ...environmentFor(inbox, await program.folder()),
        DATABASE_URL: database.url,
        REDIS_URL: await redis.freshDatabase(),
        JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789',
      }
      const world = { backend: 'full' as const, inbox, env }
      const doomed = await start(world)
      const other = await start(world)
      const email = await answerAndDie(world, doomed)
      await verify(world, other, email)
      const owner = postgres(database.url, { max: 1 })
      await until(async () => (await owner`select from mail_outbox`).length === 0, 'the end of its row')
      await owner.end()
      expect(inbox.mails).toHaveLength(1)
      await stop(other)
      await inbox.stop()
      await database.drop()
    })
  })
})
