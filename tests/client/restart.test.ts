import { afterAll, beforeAll, expect, test } from 'bun:test'
import { loadConfig } from '../../src/config/config.ts'
import { start } from '../../src/server.ts'
import { createClient } from '../support/client.ts'
import { recordingLogger } from '../support/log.ts'
import { addItem, join, makeList, makeTenant, makeUser, type Person } from '../support/people.ts'
import { type BadNetwork, startProxy } from '../support/proxy.ts'
import {
  describeBackends,
  describeFull,
  startInstance,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { clientOf, watch } from './setup.ts'

/** Stops the service as an operator would, and starts it again on the same state. */
async function restart(server: TestServer, proxy: BadNetwork): Promise<void> {
  await server.running.stop()
  await startAgain(server, proxy)
}

async function startAgain(server: TestServer, proxy: BadNetwork): Promise<void> {
  const running = await start(loadConfig({ ...server.environment, PORT: '0' }), recordingLogger())
  Object.assign(server, { running, url: running.url, stop: stopOf(server, running.stop) })
  proxy.retarget(running.url)
}

const stopOf = (server: TestServer, stopRunning: () => Promise<void>) => {
  const cleanUp = server.stop
  return async (): Promise<void> => {
    await stopRunning()
    await cleanUp()
  }
}

const at = (server: TestServer, person: Person): Person => ({
  ...person,
  api: createClient(server.url, person.accessToken),
})

describeBackends('a restart of the service', (backend) => {
  let server: TestServer
  let proxy: BadNetwork
  beforeAll(async () => {
    server = await startServer(backend)
    proxy = await startProxy(server.url)
  })
  afterAll(async () => {
    await proxy.stop()
    await server.stop()
  })

  test('costs a subscriber no event, whether it subscribed before or during the outage', async () => {
    const tenant = await makeTenant(server)
    const ann = await makeUser(server, tenant, { name: 'Ann' })
    const ben = await makeUser(server, tenant, { name: 'Ben' })
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const mart = await clientOf(ben, proxy.url)
    const seen = watch(mart, id)
    await seen.reaches(1)
    for (let round = 0; round < 2; round++) {
      await addItem(at(server, ann), id)
      await restart(server, proxy)
      await addItem(at(server, ann), id)
      await seen.reaches(3 + 2 * round)
    }
    expect(seen.events.map(({ seq }) => seq)).toEqual([2, 3, 4, 5])
    expect(seen.statuses).toContain('offline')

    const other = await clientOf(ben, proxy.url)
    await server.running.stop()
    const late = watch(other, id.toUpperCase())
    await late.becomes('offline')
    await startAgain(server, proxy)
    await addItem(at(server, ann), id)
    await Promise.all([seen.reaches(6), late.reaches(6)])
    other.close()
    mart.close()
  }, 60_000)
})

describeFull('several instances', () => {
  test('are one service to a subscriber moved between them while people write on both', async () => {
    const first = await startServer('full')
    const second = await startInstance(first)
    const proxy = await startProxy(first.url)
    const tenant = await makeTenant(first)
    const ann = await makeUser(first, tenant, { name: 'Ann' })
    const { id } = await makeList(ann)
    const mart = await clientOf(ann, proxy.url)
    const seen = watch(mart, id)
    await seen.becomes('live')
    const writing = Promise.all(
      [first, second].map(async (instance) => {
        for (let n = 0; n < 40; n++) await addItem(at(instance, ann), id, { name: `Item ${n}` })
      }),
    )
    for (const target of [second, first, second]) {
      await seen.reaches((seen.events.at(-1)?.seq ?? 0) + 10)
      proxy.retarget(target.url)
      proxy.cut()
    }
    await writing
    await seen.reaches(80)
    expect(seen.events.map(({ seq }) => seq)).toEqual(Array.from({ length: 80 }, (_, n) => n + 1))
    mart.close()
    await proxy.stop()
    await second.stop()
    await first.stop()
  }, 60_000)
})
