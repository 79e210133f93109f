/** What a broker promises, whichever it is. */

import { afterEach, expect, test } from 'bun:test'
import type { ListEvent, ListKey } from '../../src/features/list-changes/events.ts'
import type { Broker, BrokerHandlers } from '../../src/realtime/broker.ts'
import { until } from '../support/until.ts'

export interface Party {
  broker: Broker
  /** Numbers that came, by list. */
  heard: Map<string, number[]>
  /** How often it was told to look at the database. */
  doubts: () => number
}

export function party(make: (handlers: BrokerHandlers) => Broker): Party {
  const heard = new Map<string, number[]>()
  let doubts = 0
  const broker = make({
    onEvents(list, events) {
      heard.set(list.listId, [...(heard.get(list.listId) ?? []), ...events.map(({ seq }) => seq)])
    },
    onReconnect: () => void doubts++,
  })
  return { broker, heard, doubts: () => doubts }
}

export const someList = (): ListKey => ({ tenantId: crypto.randomUUID(), listId: crypto.randomUUID() })

export const event = (seq: number, text = `{"seq":${seq}}`): ListEvent => ({
  seq,
  type: 'member_removed',
  userId: null,
  text,
})

export const heardOn = ({ heard }: Party, { listId }: ListKey): number[] => heard.get(listId) ?? []

/** @param makePair two parties that reach each other; one twice where the broker is within one process */
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

  test('once listen resolves, what is published reaches the handler, whole', async () => {
    const whole: [ListKey, readonly ListEvent[]][] = []
    const [a, b] = await pair()
    const list = someList()
    await b.broker.listen(list)
    const events = [event(1, '{"text":"ünïcødé \\u0000 🛒"}'), { ...event(2), userId: crypto.randomUUID() }]
    const onEvents = b.heard.set.bind(b.heard)
    b.heard.set = (listId, seqs) => {
      whole.push([list, events])
      return onEvents(listId, seqs)
    }
    a.broker.publish(list, events)
    await until(() => heardOn(b, list).length === 2)
    expect(heardOn(b, list)).toEqual([1, 2])
    expect(whole).toHaveLength(1)
  })

  test('a thousand publishes on ten lists all reach, each its own list', async () => {
    const [a, b] = await pair()
    const lists = Array.from({ length: 10 }, someList)
    await Promise.all(lists.map((list) => b.broker.listen(list)))
    for (let seq = 1; seq <= 100; seq++) for (const list of lists) a.broker.publish(list, [event(seq)])
    const all = Array.from({ length: 100 }, (_, index) => index + 1)
    await until(() => lists.every((list) => heardOn(b, list).length >= 100))
    for (const list of lists) expect(heardOn(b, list).toSorted((x, y) => x - y)).toEqual(all)
  })

  test('what nobody listens to, or no longer, is not heard', async () => {
    const [a, b] = await pair()
    const [followed, left, never] = [someList(), someList(), someList()]
    await Promise.all([followed, left].map((list) => b.broker.listen(list)))
    b.broker.unlisten(left)
    b.broker.unlisten(never)
    for (const list of [left, never, followed]) a.broker.publish(list, [event(1)])
    await until(() => heardOn(b, followed).length === 1)
    expect([heardOn(b, left), heardOn(b, never)]).toEqual([[], []])
  })

  test('the same list of another tenant is another list', async () => {
    const [a, b] = await pair()
    const list = someList()
    await b.broker.listen(list)
    a.broker.publish({ ...list, tenantId: crypto.randomUUID() }, [event(1)])
    a.broker.publish(list, [event(2)])
    await until(() => heardOn(b, list).length > 0)
    expect(heardOn(b, list)).toEqual([2])
  })

  test('listening again right after leaving hears what comes then', async () => {
    const [a, b] = await pair()
    const list = someList()
    for (let round = 1; round <= 30; round++) {
      await b.broker.listen(list)
      a.broker.publish(list, [event(round)])
      await until(() => heardOn(b, list).includes(round), `round ${round}`, 1000)
      b.broker.unlisten(list)
    }
    expect(heardOn(b, list)).toHaveLength(30)
  })

  test('closed, it takes publishes without a word', async () => {
    const [a] = await pair()
    await a.broker.close()
    expect(() => a.broker.publish(someList(), [event(1)])).not.toThrow()
  })
}
