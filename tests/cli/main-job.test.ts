/** The main job, run against the shipped program on both backends; tests/api/main-job.test.ts runs it from source. */
import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { addItem, join as joinList, makeList, makeTenant, makeUser } from '../support/people.ts'
import { testPostgres } from '../support/postgres.ts'
import { asServer, describeExecutable, environmentFor } from '../support/program.ts'
import { testRedis } from '../support/redis.ts'
import { type Backend, describeBackends } from '../support/server.ts'
import { startInbox } from '../support/smtp.ts'

describeExecutable('the main job', (program) => {
  describeBackends('as a program', (backend) => {
    test('two people share a list, add to it and buy; everything is there after a restart', async () => {
      const inbox = await startInbox()
      const environment = {
        ...environmentFor(inbox, join(await program.folder(), 'data')),
        ...(await databaseOf(backend)),
      }
      const first = await (await program.start([], { env: environment })).ready()
      const server = asServer(first, { backend, inbox, environment })
      const tenant = await makeTenant(server, 'Corner house')
      const ann = await makeUser(server, tenant, { name: 'Ann' })
      const ben = await makeUser(server, tenant, { name: 'Ben' })
      const list = await makeList(ann, 'Weekend')
      await joinList(ann, list.id, ben)
      const milk = await addItem(ann, list.id, { name: 'Milk', quantity: 2, unit: 'l' })
      await addItem(ben, list.id, { name: 'Bread' })
      const bought = await ben.api.patch(`/items/${milk.id}`, { status: 'purchased' })
      expect(bought.body).toMatchObject({ status: 'purchased', purchased_by: ben.id, version: 2 })
      const before = await ann.api.get(`/shopping-lists/${list.id}`)
      expect(before.body).toMatchObject({ seq: 4, role: 'owner', name: 'Weekend' })
      expect(before.body.items.map(({ name }: { name: string }) => name)).toEqual(['Milk', 'Bread'])
      first.signal('SIGTERM')
      expect(await first.exited).toBe(0)

      const port = new URL(first.url).port
      const second = await (await program.start([], { env: { ...environment, PORT: port } })).ready()
      expect((await ann.api.get(`/shopping-lists/${list.id}`)).body).toEqual(before.body)
      const metrics = await (await fetch(`${second.url}/metrics`)).text()
      expect(metrics).toContain('minimart_http_request_duration_seconds')
      second.signal('SIGTERM')
      expect(await second.exited).toBe(0)
      await inbox.stop()
    })
  })
})

async function databaseOf(backend: Backend): Promise<Record<string, string>> {
  if (backend === 'embedded') return {}
  const [postgres, redis] = await Promise.all([testPostgres(), testRedis()])
  const [database, redisUrl] = await Promise.all([postgres.createDatabase(), redis.freshDatabase()])
  return {
    DATABASE_URL: database.url,
    REDIS_URL: redisUrl,
    JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789',
  }
}
