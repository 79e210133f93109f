/** A Redis that takes everything and answers nothing, while there is traffic. */
import { expect, test } from 'bun:test'
import { openStore } from '../../src/store/open.ts'
import { recordingLogger } from '../support/log.ts'
import { startProxy } from '../support/proxy.ts'
import { describePrivateRedis, startRedis } from '../support/redis.ts'
import { describeCluster, startCluster } from '../support/redis-cluster.ts'
import { until } from '../support/until.ts'
import { noDatabase } from './table.ts'

/** Leaves no pause in which the driver itself would notice. */
const askEveryMs = 500
/** Two seconds of silence and a command; the driver alone would not notice at all. */
const noticedWithinMs = 10_000
const limit = { count: 10, windowSeconds: 60 }

async function openUnderTraffic(redisUrl: string, keys: readonly string[]) {
  const log = recordingLogger()
  const installation = { name: 'this-one', isUpgraded: false }
  const store = await openStore({ redis: { url: redisUrl, installation }, db: noDatabase, log })
  const timer = setInterval(() => {
    for (const key of keys) store.sharedBuckets?.take(key, limit).catch(() => undefined)
  }, askEveryMs)
  return {
    store,
    logged: (message: string) => log.messages().includes(message),
    close: async (): Promise<void> => {
      clearInterval(timer)
      await store.close()
    },
  }
}

describePrivateRedis('a silent Redis', () => {
  test('is given up under traffic, and used again once it answers', async () => {
    const redis = await startRedis()
    const network = await startProxy(redis.url)
    const redisUrl = network.url.replace('http', 'redis')
    const { store, logged, close } = await openUnderTraffic(redisUrl, ['one'])
    try {
      await store.set('key', 'value', 60)
      const accepted = network.accepted()
      network.drop()
      await until(() => network.accepted() > accepted, 'a new connection', noticedWithinMs)
      expect(logged('Redis is unavailable')).toBe(true)
      network.flow()
      await until(() => logged('Redis is available again'), 'the end of the outage')
      expect(await store.get('key')).toBe('value')
    } finally {
      await close()
      await network.stop()
      await redis.end()
    }
  })
})

describeCluster('a silent node of a Redis Cluster', () => {
  test('is given up under traffic, and used again once it answers', async () => {
    const cluster = await startCluster()
    const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`)
    const { store, logged, close } = await openUnderTraffic(cluster.nodes[0].url, keys)
    const frozen = cluster.nodes[1]
    try {
      for (const key of keys) await store.set(key, 'value', 60)
      await frozen.freeze()
      await until(() => logged('Redis is unavailable'), 'the outage', noticedWithinMs)
      await frozen.thaw()
      await cluster.whole()
      await until(() => logged('Redis is available again'), 'the end of the outage')
      for (const key of keys) expect(await store.get(key)).toBe('value')
    } finally {
      await frozen.thaw()
      await close()
      await cluster.end()
    }
  })
})
