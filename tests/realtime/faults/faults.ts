/** The faults of a round. Each is over, and everything runs again, when its promise resolves. */
import { type BadNetwork, startProxy } from '../../support/proxy.ts'
import { until } from '../../support/until.ts'
import type { FaultKind } from './plan.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

export type Fault = (world: World, random: Random) => Promise<void>

export const faults: Record<FaultKind, Fault> = {
  async 'kill-pubsub'({ cluster }, random) {
    for (let left = random.between(4, 7); left > 0; left--) {
      await Bun.sleep(random.between(50, 1200))
      await cluster.killPubsub()
    }
  },

  async 'redis-restart'({ cluster: { redis } }, random) {
    await redis.stop(random.pick(['clean', 'crash']))
    await Bun.sleep(3000)
    await redis.start()
  },

  async 'redis-freeze'({ cluster: { redis } }) {
    await redis.freeze()
    await Bun.sleep(8000)
    await redis.thaw()
  },

  async 'kill-instance'({ cluster }, random) {
    for (let left = random.between(1, 2); left > 0; left--) {
      const instance = random.pick(cluster.instances)
      await Bun.sleep(random.between(100, 800))
      await instance.kill()
      await Bun.sleep(random.between(0, 1500))
      await instance.start()
    }
  },

  async 'restart-instance'({ cluster, recorder }, random) {
    const instance = random.pick(cluster.instances)
    const begun = performance.now()
    const code = await instance.stop()
    const tookMs = performance.now() - begun
    if (code !== 0 && code !== killedByAnother)
      recorder.problem(`an instance that was asked to stop ended with ${code}`)
    if (tookMs > 10_000) recorder.problem(`an instance took ${Math.round(tookMs)} ms to stop`)
    await Bun.sleep(random.between(0, 500))
    await instance.start()
  },

  async 'kill-backends'({ cluster }, random) {
    for (let left = random.between(2, 4); left > 0; left--) {
      await Bun.sleep(random.between(100, 1000))
      await cluster.killBackends()
    }
  },

  async 'stalled-subscriber'(world, random) {
    const proxy = await openProxy(world, random)
    const settings = { route: () => proxy.url, silenceTimeoutMs: 60_000 }
    const slow = await world.addSubscriber('stalled', random.fork(), settings)
    const [listId] = world.cluster.listIds
    await until(() => (slow.replicas.get(listId)?.seq() ?? 0) > 0, 'the first event', 20_000)
    const before = slow.connections()
    proxy.hold('toClient')
    await writeHeavily(world, random)
    proxy.flow()
    await until(() => slow.connections() > before, 'the slow subscriber being cut off', 20_000)
  },

  async 'bad-network'(world, random) {
    const proxies = [await openProxy(world, random), await openProxy(world, random)] as const
    for (const [index, { url }] of proxies.entries())
      await world.addSubscriber(`far ${index}`, random.fork(), { route: () => url })
    world.addWriter('far writer', random.fork(), { route: () => proxies[0].url })
    const route = world.balanced(random)
    for (let left = random.between(8, 14); left > 0; left--) {
      await Bun.sleep(random.between(100, 700))
      disturb(random.pick(proxies), route(), random)
    }
    for (const proxy of proxies) calm(proxy)
  },
}

/** Effects on open connections stay: a proxy that swallowed bytes cannot be used any more. */
function disturb(proxy: BadNetwork, url: string, random: Random): void {
  calm(proxy)
  proxy.retarget(url)
  random.pick([
    () => proxy.cut(),
    () => proxy.delay(random.pick([50, 400])),
    () => proxy.halfClose(random.pick(['client', 'server'])),
    () => {
      swallowed.add(proxy)
      proxy.drop(random.pick(['toServer', 'toClient', undefined]))
    },
    () => proxy.hold(random.pick(['toServer', 'toClient', undefined])),
  ])()
}

const swallowed = new WeakSet<BadNetwork>()

function calm(proxy: BadNetwork): void {
  if (swallowed.delete(proxy)) proxy.cut()
  proxy.flow()
  proxy.delay(0)
}

/** The exit code if another fault of the round killed the same instance. */
const killedByAnother = 128 + 9

async function openProxy({ balanced, onEnd }: World, random: Random): Promise<BadNetwork> {
  const proxy = await startProxy(balanced(random)())
  onEnd(() => void proxy.stop())
  return proxy
}

/** Some 11 MB of events: more than the kernel's buffers and the server's limit together. */
const bulks = 14
const bulkSize = 100
const note = '🛒'.repeat(2000)
/** With more of them a list, which holds 4 MiB of text, has no room for the other writers. */
const bulksAtOnce = 4

async function writeHeavily({ recorder, requests, cluster }: World, random: Random): Promise<void> {
  const { insist } = requests(random.fork())
  const add = async (listId: string, bulk: number): Promise<string[]> => {
    const items = Array.from({ length: bulkSize }, (_, index) => ({
      id: Bun.randomUUIDv7(),
      name: `heavy ${bulk}.${index}`,
      note,
    }))
    const writes = items.map(({ id, name }) => recorder.begin({ kind: 'add', listId, itemId: id, name }))
    const answer = await insist('POST', `/shopping-lists/${listId}/items`, { items })
    if (answer && answer.status <= 201) for (const write of writes) write.acknowledged = true
    else recorder.problem(`a heavy addition was answered with ${answer?.status}`)
    return items.map(({ id }) => id)
  }
  const remove = async (listId: string, itemId: string): Promise<void> => {
    const write = recorder.begin({ kind: 'delete', listId, itemId, name: '' })
    // A repeat finds nothing to delete.
    const status = (await insist('DELETE', `/items/${itemId}`, undefined))?.status
    if (status === 204 || status === 404) write.acknowledged = true
    else recorder.problem(`a heavy deletion was answered with ${status}`)
  }
  const kept = cluster.listIds.map((listId) => ({ listId, bulks: [] as string[][] }))
  for (let bulk = 0; bulk < bulks; bulk++) {
    const list = kept[bulk % kept.length]
    if (list === undefined) continue
    if (list.bulks.length >= bulksAtOnce)
      await Promise.all((list.bulks.shift() ?? []).map((id) => remove(list.listId, id)))
    list.bulks.push(await add(list.listId, bulk))
  }
}
