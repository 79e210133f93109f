/** The Redis broker under faults: it recovers by itself, and then has the streams reconcile with the database. */
import { heapStats } from 'bun:jsc'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'bun:test'
import { createClient } from 'redis'
import { createRedisBroker } from '../../src/realtime/broker-redis.ts'
import { type RecordingLogger, recordingLogger } from '../support/log.ts'
import { describePrivateRedis, type PrivateRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { event, type Party, party, receivedOn, sameInstallation, someList } from './broker-suite.ts'

/** 3.5 s of silence, a check each second, and the time to connect. */
const noticedWithinMs = 8000

describePrivateRedis('the Redis broker', () => {
  let redis: PrivateRedis
  let log: RecordingLogger
  let a: Party
  let b: Party
  const own = sameInstallation()
  const list = someList()
  let seq = 0

  beforeAll(async () => {
    redis = await startRedis()
  })
  beforeEach(async () => {
    log = recordingLogger()
    const make = () => party((handlers) => createRedisBroker({ url: redis.url, log, ...own }, handlers))
    a = make()
    b = make()
    await b.broker.listen(list)
    await until(() => travels())
  })
  afterEach(async () => {
    await Promise.all([a.broker.close(), b.broker.close()])
  })
  afterAll(() => redis.end())

  /** Live memory: garbage of other tests, which the process may keep for a while, does not count. */
  const liveBytes = (): number => {
    Bun.gc(true)
    const { heapSize, extraMemorySize } = heapStats()
    return heapSize + extraMemorySize
  }

  /** Whether an event published now arrives. */
  const travels = async (): Promise<boolean> => {
    const sent = ++seq
    a.broker.publish(list, [event(sent)])
    return until(() => receivedOn(b, list).includes(sent), 'an event', 200).catch(() => false)
  }
  const sendCommand = async (...words: string[]): Promise<void> => {
    const client = createClient({ url: redis.url })
    await client.connect()
    await client.sendCommand(words)
    client.destroy()
  }

  test('has streams reconcile on its first connection', () => {
    expect(a.reconnects()).toBe(1)
    expect(b.reconnects()).toBe(1)
  })

  test('survives CLIENT KILL TYPE pubsub, and has streams reconcile', async () => {
    for (const kind of ['pubsub', 'normal']) {
      const before = b.reconnects()
      await sendCommand('CLIENT', 'KILL', 'TYPE', kind, 'SKIPME', 'yes')
      await until(() => b.reconnects() > before, `a reconnect after ${kind}`, noticedWithinMs)
      await until(travels, 'events again', noticedWithinMs)
    }
  })

  test('survives a Redis that restarts empty', async () => {
    const [before, reconnectsOfA] = [b.reconnects(), a.reconnects()]
    await redis.stop()
    const fresh = someList()
    const begun = performance.now()
    await b.broker.listen(fresh)
    expect(performance.now() - begun).toBeLessThan(2000)
    expect(await travels()).toBe(false)
    const warnings = () => log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)
    await until(() => warnings().length >= 2, 'the warnings of both')
    await redis.start()
    await until(
      () => b.reconnects() > before && a.reconnects() > reconnectsOfA,
      'both reconnects',
      noticedWithinMs,
    )
    await until(travels, 'events again', noticedWithinMs)
    a.broker.publish(fresh, [event(1)])
    await until(() => receivedOn(b, fresh).length === 1)
    expect(new Set(warnings()).size).toBe(1)
    expect(warnings()).toHaveLength(2)
    expect(log.messages()).toContain('Redis relays live events between instances again')
  })

  test('survives a Redis that is unresponsive for 8 s, with bounded memory', async () => {
    const before = b.reconnects()
    await redis.freeze()
    const text = 'x'.repeat(4096)
    const memory = liveBytes()
    let kept = 0
    const frozen = performance.now()
    const listened = b.broker.listen(someList()).then(() => performance.now() - frozen)
    while (performance.now() - frozen < 8000) {
      for (let count = 0; count < 200; count++) a.broker.publish(list, [event(1, text)])
      await Bun.sleep(10)
      // Just before the connection is given up, when the backlog is largest.
      if (performance.now() - frozen < 3000) kept = Math.max(kept, liveBytes() - memory)
    }
    await redis.thaw()
    expect(await listened).toBeLessThan(2000)
    // Some 5,000 messages of 4 KB may be queued.
    expect(kept).toBeLessThan(60e6)
    await until(() => b.reconnects() > before, 'a reconnect', noticedWithinMs)
    await until(travels, 'events again', noticedWithinMs)
  })

  test('starts without a Redis, and works once there is one', async () => {
    await redis.stop()
    const [late, other] = [someList(), recordingLogger()]
    const c = party((handlers) => createRedisBroker({ url: redis.url, log: other, ...own }, handlers))
    await c.broker.listen(late)
    expect(c.reconnects()).toBe(0)
    c.broker.publish(late, [event(1)])
    await redis.start()
    await until(() => c.reconnects() === 1, 'a connection', noticedWithinMs)
    await until(travels, 'events again', noticedWithinMs)
    a.broker.publish(late, [event(2)])
    await until(() => receivedOn(c, late).length === 1)
    await c.broker.close()
  })
})
