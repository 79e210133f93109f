/** Who is believed on the Redis bridge: instances of the same installation, and nobody else. */
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { createClient } from 'redis'
import { messageText, seal } from '../../src/realtime/broker-messages.ts'
import { createRedisBroker, type RedisBrokerOptions } from '../../src/realtime/broker-redis.ts'
import { type RecordingLogger, recordingLogger } from '../support/log.ts'
import { describeRedis, testRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { event, type Party, party, receivedOn, sameInstallation, someList } from './broker-suite.ts'

describeRedis('a message on the bridge', () => {
  let redis: ReturnType<typeof createClient>
  let log: RecordingLogger
  const open: Party[] = []
  beforeEach(async () => {
    log = recordingLogger()
    redis = createClient({ url: (await testRedis()).url })
    await redis.connect()
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map(({ broker }) => broker.close()))
    redis.destroy()
  })

  async function connected(own: Pick<RedisBrokerOptions, 'installation' | 'keys'>): Promise<Party> {
    const { url } = await testRedis()
    const one = party((handlers) => createRedisBroker({ url, log, ...own }, handlers))
    open.push(one)
    await until(() => one.reconnects() > 0, 'the connection')
    return one
  }

  const channelOf = (
    { installation }: ReturnType<typeof sameInstallation>,
    { tenantId, listId }: typeof list,
  ) => `minimart:${installation.name}:list:${tenantId}:${listId}`
  const list = someList()
  const warnings = () => log.lines.filter(({ level }) => level === 'warn')

  test('is dropped, counted and logged at most once a minute unless one of this installation sent it', async () => {
    const own = sameInstallation()
    const [a, b] = [await connected(own), await connected(own)]
    await b.broker.listen(list)
    const channel = channelOf(own, list)
    const text = messageText({ list, events: [event(7, 'forged')], requestId: null })
    const sealed = seal(own.keys, channel, text)
    const newer = JSON.stringify({ version: 2, list, events: [event(7)] })
    const odd = ['', 'no JSON', 'null', '{}', '{"list":1,"events":[]}', '[]', newer]
    const messages = [
      ...[...odd, text].map((each) => ['unsealed', each]),
      ...odd.map((each) => ['sealed, not understood', seal(own.keys, channel, each)]),
      ['sealed by another', seal({ key: randomBytes(32), previous: [] }, channel, text)],
      ['sealed for another list', seal(own.keys, channelOf(own, someList()), text)],
      ['sealed for another installation', seal(own.keys, channelOf(sameInstallation(), list), text)],
      ['altered', sealed.replace('forged', 'faked!')],
      ['longer', `${sealed} `],
      ['cut off', sealed.slice(0, 43)],
    ]
    for (const [, message = ''] of messages) await redis.publish(channel, message)
    a.broker.publish(list, [event(1)])
    await until(() => receivedOn(b, list).includes(1), 'the real one')
    expect(receivedOn(b, list)).toEqual([1])
    expect(b.hints).toEqual([])
    expect(b.broker.dropped()).toBe(messages.length)
    expect(warnings()).toHaveLength(1)
    expect(JSON.stringify(warnings()).length).toBeLessThan(300)
    expect(b.reconnects()).toBe(1)

    // The same with the right seal, and fields of a later release, is taken.
    await redis.publish(channel, seal(own.keys, channel, text.replace('{', '{"more":true,')))
    await until(() => receivedOn(b, list).includes(7), 'the sealed one')
  })

  test('passes while the secret is rotated, and not between installations, not even with the same secret', async () => {
    const own = sameInstallation()
    const next = { key: randomBytes(32), previous: [own.keys.key] }
    const knowing = { ...own, keys: { ...own.keys, previous: [next.key] } }
    const copy = { installation: { name: 'a-copy-of-it', isUpgraded: false }, keys: own.keys }
    const [older, newer] = [await connected(knowing), await connected({ ...own, keys: next })]
    const elsewhere = await connected(copy)
    await Promise.all([older, newer, elsewhere].map(({ broker }) => broker.listen(list)))
    older.broker.publish(list, [event(1)])
    newer.broker.publish(list, [event(2)])
    elsewhere.broker.publish(list, [event(3)])
    await until(() => [older, newer].every((one) => receivedOn(one, list).length === 2), 'both events')
    await until(() => receivedOn(elsewhere, list).length > 0, 'the copy’s own')
    expect(receivedOn(older, list).toSorted()).toEqual([1, 2])
    expect(receivedOn(elsewhere, list)).toEqual([3])
    expect([older, newer, elsewhere].map(({ broker }) => broker.dropped())).toEqual([0, 0, 0])
    expect(warnings()).toEqual([])
  })

  test('after an upgrade reaches the release before; what that one, or anybody, says is only a hint', async () => {
    const own = sameInstallation(true)
    const [a, b] = [await connected(own), await connected(own)]
    await b.broker.listen(list)
    const channel = `minimart:list:${list.tenantId}:${list.listId}`
    const received: string[] = []
    const olderInstance = redis.duplicate()
    await olderInstance.connect()
    await olderInstance.subscribe(channel, (text) => received.push(text))
    const sent = event(1)
    a.broker.publish(list, [sent], 'a request')
    await until(() => receivedOn(b, list).length === 1 && received.length === 1, 'the event')
    expect(JSON.parse(received[0] ?? '')).toMatchObject({
      version: 1,
      list,
      events: [sent],
      requestId: 'a request',
    })
    expect(b.hints).toEqual([])

    // As releases before sent them, the first one without a version.
    const theirs = {
      list,
      events: [{ seq: 2, type: 'item_added', userId: null, text: 'not to be delivered' }],
    }
    const texts = [{ version: 1, ...theirs, requestId: null }, theirs].map((each) => JSON.stringify(each))
    for (const message of [...texts, '', 'null', '{}', 'garbage']) await redis.publish(channel, message)
    a.broker.publish(list, [event(3)])
    await until(() => receivedOn(b, list).includes(3), 'the next event')
    expect(b.hints).toEqual([list.listId, list.listId])
    expect(receivedOn(b, list)).toEqual([1, 3])
    expect(b.broker.dropped()).toBe(0)
    b.broker.unlisten(list)
    await until(async () => (await redis.pubSubNumSub(channel))[channel] === 1, 'the end of the subscription')
    olderInstance.destroy()
  })

  test('is not heard on the channels of the release before by an installation that was never upgraded', async () => {
    const own = sameInstallation()
    const one = await connected(own)
    await one.broker.listen(list)
    const channel = `minimart:list:${list.tenantId}:${list.listId}`
    expect(await redis.pubSubNumSub(channel)).toEqual({ [channel]: 0 })
  })
})
