/** Redis unavailable at the start, and lost while the service runs. */
import { expect, test } from 'bun:test'
import { addItem, makeList, makeTenant } from '../support/people.ts'
import { describePostgres, testPostgres } from '../support/postgres.ts'
import { asServer, describeExecutable, environmentFor } from '../support/program.ts'
import { describePrivateRedis, startRedis } from '../support/redis.ts'
import { startInbox } from '../support/smtp.ts'
import { openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

describeExecutable('Redis unavailable', (program) => {
  describePostgres('with PostgreSQL', () => {
    describePrivateRedis('of its own', () => {
      test('lists keep working, what needs Redis answers 503, subscribers miss nothing, and all recovers by itself', async () => {
        const [redis, inbox, postgres] = await Promise.all([startRedis(), startInbox(), testPostgres()])
        const { url } = await postgres.createDatabase()
        const environment = {
          ...environmentFor(inbox, await program.folder()),
          DATABASE_URL: url,
          REDIS_URL: redis.url,
          JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789',
        }
        await redis.stop('crash')
        const early = await (await program.start([], { env: environment })).ready()
        expect((await fetch(`${early.url}/readyz`)).status).toBe(503)
        expect(early.output()).toContain('Redis is unavailable')
        await redis.start()
        await until(async () => (await fetch(`${early.url}/readyz`)).ok, 'ready', 5000)

        const server = asServer(early, { backend: 'full', inbox, environment })
        const { admin } = await makeTenant(server)
        const list = await makeList(admin)
        const socket = await openSocket(early, admin.accessToken)
        await socket.follow(list.id)

        await redis.stop('crash')
        await addItem(admin, list.id, { name: 'while it is away' })
        expect((await admin.api.get(`/shopping-lists/${list.id}`)).body.items).toHaveLength(1)
        const refused = await admin.api.post('/auth/refresh', { refresh_token: admin.refreshToken })
        expect([refused.status, refused.body.code]).toEqual([503, 'redis_unavailable'])
        expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
        expect(await socket.next('item_added')).toMatchObject({ seq: 1 })

        await redis.start()
        await until(async () => (await fetch(`${early.url}/readyz`)).ok, 'ready again', 5000)
        const { id } = await addItem(admin, list.id, { name: 'when it is back' })
        expect(await socket.next('item_added')).toMatchObject({ seq: 2, payload: { item: { id } } })
        socket.close()
        early.signal('SIGTERM')
        expect(await early.exited).toBe(0)
        await Promise.all([redis.end(), inbox.stop()])
      })
    })
  })
})
