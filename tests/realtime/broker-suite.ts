/** What every broker guarantees. */

import { afterEach, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import type { ListEvent, ListKey } from '../../src/features/list-changes/events.ts'
import type { Broker, BrokerHandlers } from '../../src/realtime/broker.ts'
import type { RedisBrokerOptions } from '../../src/realtime/broker-redis.ts'
import { until } from '../support/until.ts'

/** For brokers that are to hear each other. */
export const sameInstallation = (isUpgraded = false): Pick<RedisBrokerOptions, 'installation' | 'keys'> => ({
  installation: { name: crypto.randomUUID().slice(0, 8), isUpgraded },
  keys: { key: randomBytes(32), previous: [] },
})

export interface Party {
  broker: Broker
  /** Sequence numbers received, by list. */
  received: Map<string, number[]>
  /** Ids of lists that were hinted at. */
  hints: string[]
  /** How often streams had to reconcile with the database. */
  reconnects: () => number
}

export function party(make: (handlers: BrokerHandlers) => Broker): Party {
  const received = new Map<string, number[]>()
  const hints: string[] = []
  let reconnects = 0
  const broker = make({
    onEvents(list, events) {
      received.set(list.listId, [...(received.get(list.listId) ?? []), ...events.map(({ seq }) => seq)])
    },
    onHint: ({ listId }) => void hints.push(listId),
    onReconnect: () => void reconnects++,
  })
  return { broker, received, hints, reconnects: () => reconnects }
}

export const someList = (): ListKey => ({ tenantId: crypto.randomUUID(), listId: crypto.randomUUID() })

export const event = (seq: number, text = `{"seq":${seq}}`): ListEvent => ({
  seq,
  mark: '0123abcd',
  previous: '4567cdef',
  type: 'member_removed',
  userId: null,
  text,
})

export const receivedOn = ({ received }: Party, { listId }: ListKey): number[] => received.get(listId) ?? []

/** @param makePair two parties connected to each other; the same one twice for a broker within one process */
export function brokerSuite(makePair: () => Promise<[Party, Party]>): void {
  const open: Party[] = []
  const pair = async (): Promise<[Party, Party]> => {
    const made = await makePair()
    open.push(...made)
    return made
  }
  afterEach(async () => {
    await Promise.all(open.splice(0).map(({ broker }) => broker.close()))
  })

  test('once listen resolves, published events reach the handler, complete', async () => {
    const whole: [ListKey, readonly ListEvent[]][] = []
    const [a, b] = await pair()
    const list = someList()
    await b.broker.listen(list)
    const events = [event(1, '{"text":"ünïcødé \\u0000 🛒"}'), { ...event(2), userId: crypto.randomUUID() }]
    const onEvents = b.received.set.bind(b.received)
    b.received.set = (listId, seqs) => {
      whole.push([list, events])
      return onEvents(listId, seqs)
    }
    a.broker.publish(list, events)
    await until(() => receivedOn(b, list).length === 2)
    expect(receivedOn(b, list)).toEqual([1, 2])
    expect(whole).toHaveLength(1)
  })

  test('a thousand publishes on ten lists all arrive, each on its own list', async () => {
    const [a, b] = await pair()
    const lists = Array.from({ length: 10 }, someList)
    await Promise.all(lists.map((list) => b.broker.listen(list)))
    for (let seq = 1; seq <= 100; seq++) for (const list of lists) a.broker.publish(list, [event(seq)])
    const all = Array.from({ length: 100 }, (_, index) => index + 1)
    await until(() => lists.every((list) => receivedOn(b, list).length >= 100))
    for (const list of lists) expect(receivedOn(b, list).toSorted((x, y) => x - y)).toEqual(all)
  })

  test('lists not, or no longer, listened to deliver nothing', async () => {
    const [a, b] = await pair()
    const [followed, left, never] = [someList(), someList(), someList()]
    await Promise.all([followed, left].map((list) => b.broker.listen(list)))
    b.broker.unlisten(left)
    b.broker.unlisten(never)
    for (const list of [left, never, followed]) a.broker.publish(list, [event(1)])
    await until(() => receivedOn(b, followed).length === 1)
    expect([receivedOn(b, left), receivedOn(b, never)]).toEqual([[], []])
  })

  test('the same list id of another tenant is another list', async () => {
    const [a, b] = await pair()
    const list = someList()
    await b.broker.listen(list)
    a.broker.publish({ ...list, tenantId: crypto.randomUUID() }, [event(1)])
    a.broker.publish(list, [event(2)])
    await until(() => receivedOn(b, list).length > 0)
    expect(receivedOn(b, list)).toEqual([2])
  })

  test('listening again right after leaving receives later events', async () => {
    const [a, b] = await pair()
    const list = someList()
    for (let round = 1; round <= 30; round++) {
      await b.broker.listen(list)
      a.broker.publish(list, [event(round)])
      await until(() => receivedOn(b, list).includes(round), `round ${round}`, 1000)
      b.broker.unlisten(list)
    }
    expect(receivedOn(b, list)).toHaveLength(30)
  })

  test('after close, publishing does nothing and does not throw', async () => {
    const [a] = await pair()
    await a.broker.close()
    expect(() => a.broker.publish(someList(), [event(1)])).not.toThrow()
  })
}
