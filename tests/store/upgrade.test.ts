/** The store of an upgraded installation beside the release before, and beside the one after. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createClient } from 'redis'
import { type OpenStore, openStore } from '../../src/store/open.ts'
import { recordingLogger } from '../support/log.ts'
import { olderStore } from '../support/older-release.ts'
import { describeRedis, testRedis } from '../support/redis.ts'
import { storeSuite } from './suite.ts'
import { noDatabase } from './table.ts'

const open = (url: string, name: string, isUpgraded: boolean): Promise<OpenStore> =>
  openStore({ redis: { url, installation: { name, isUpgraded } }, db: noDatabase, log: recordingLogger() })

describeRedis('the store in Redis, upgraded', () => {
  const pair = (makeOther: (url: string) => Promise<OpenStore>) => async () => {
    const url = await (await testRedis()).freshDatabase()
    const stores: [OpenStore, OpenStore] = [await open(url, 'upgraded', true), await makeOther(url)]
    return { stores, end: async () => void (await Promise.all(stores.map((store) => store.close()))) }
  }
  describe('beside the release before', () => storeSuite(pair(olderStore)))
  describe('beside the release after', () => storeSuite(pair((url) => open(url, 'upgraded', false))))

  let url: string
  let before: OpenStore
  let now: OpenStore
  let after: OpenStore
  let client: ReturnType<typeof createClient>
  beforeAll(async () => {
    url = await (await testRedis()).freshDatabase()
    before = await olderStore(url)
    now = await open(url, 'upgraded', true)
    after = await open(url, 'upgraded', false)
    client = createClient({ url })
    await client.connect()
  })
  afterAll(async () => {
    await Promise.all([before, now, after].map((store) => store.close()))
    client.destroy()
  })
  const all = (key: string) => Promise.all([before, now, after].map((store) => store.get(key)))

  test('finds what was there before, for as long as it was to stay, and takes it along', async () => {
    for (const key of ['read', 'changed', 'used', 'counted']) await before.set(key, '7', 60)
    expect(await now.get('read')).toBe('7')
    expect(await after.get('read')).toBe('7')
    expect(await now.compareAndSet('changed', '7', '8', 60)).toBe(true)
    expect(await all('changed')).toEqual(['8', '8', '8'])
    expect(await now.compareAndSet('used', '7', null, 0)).toBe(true)
    expect(await all('used')).toEqual([null, null, null])
    const { count, expiresInMs } = await now.increment('counted', 6000)
    expect(count).toBe(8)
    expect(expiresInMs).toBeLessThanOrEqual(60_000)
    expect(expiresInMs).toBeGreaterThan(50_000)
    expect(await all('counted')).toEqual(['8', '8', '8'])
    for (const key of ['read', 'changed', 'counted'])
      for (const name of [`minimart:${key}`, `minimart:upgraded:{minimart:${key}}`])
        expect([name, (await client.pTTL(name)) > 40_000]).toEqual([name, true])
  })

  test('what one release has deleted or used up comes back in none', async () => {
    await now.set('deleted before', 'once', 60)
    expect(await before.delete('deleted before')).toBe(true)
    expect(await now.compareAndSet('deleted before', 'once', null, 0)).toBe(false)
    expect(await all('deleted before')).toEqual([null, null, null])

    await before.set('deleted now', 'once', 60)
    expect(await now.delete('deleted now')).toBe(true)
    expect(await all('deleted now')).toEqual([null, null, null])

    await now.set('deleted after', 'once', 60)
    expect(await after.delete('deleted after')).toBe(true)
    expect(await now.get('deleted after')).toBeNull()

    for (const [one, other] of [
      [before, now],
      [now, before],
    ] as const) {
      await one.set('used at once', 'once', 60)
      const won = await Promise.all(
        Array.from({ length: 40 }, (_, index) =>
          (index % 2 ? one : other).compareAndSet('used at once', 'once', null, 1),
        ),
      )
      expect(won.filter(Boolean)).toHaveLength(1)
      expect(await all('used at once')).toEqual([null, null, null])
    }
  })

  test('an installation that was never upgraded sees none of it', async () => {
    const other = await open(url, 'another', false)
    await before.set('theirs', 'before', 60)
    await now.set('theirs', 'now', 60)
    expect(await other.get('theirs')).toBeNull()
    await other.set('theirs', 'other', 60)
    expect(await all('theirs')).toEqual(['now', 'now', 'now'])
    await other.close()
  })
})
