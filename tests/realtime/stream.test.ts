/** A stream alone, its database played by the test: in order, each once, none missing. */

import { expect, test } from 'bun:test'
import type { ListEvent } from '../../src/features/list-changes/events.ts'
import type { EventPage } from '../../src/realtime/event-log.ts'
import { createStream, type Stream } from '../../src/realtime/stream.ts'
import { recordingLogger } from '../support/log.ts'
import { until } from '../support/until.ts'

const pageSize = 5

const event = (seq: number): ListEvent => ({ seq, type: 'item_added', userId: null, text: `event ${seq}` })
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)

/** A stream that stands at `from` of a list whose database ends at `table.seq` and keeps what comes after `table.kept`. */
function play(
  from: number,
  table: { seq: number; kept?: number; faults?: number },
  reauthorize: (given: readonly number[]) => Promise<void> = async () => undefined,
) {
  const given: number[] = []
  const resyncs: number[] = []
  const counts = { reads: 0, healed: 0, reading: 0, most: 0 }
  const log = recordingLogger()
  const read = async (cursor: number): Promise<EventPage> => {
    counts.reads++
    counts.most = Math.max(counts.most, ++counts.reading)
    await Bun.sleep(1)
    counts.reading--
    if (table.faults && table.faults-- > 0) throw new Error('the database is away')
    const first = Math.max(cursor, table.kept ?? 0) + 1
    const events = numbers(first, Math.min(table.seq, first + pageSize - 1)).map(event)
    return { events, seq: table.seq, expired: table.seq > cursor && events[0]?.seq !== cursor + 1 }
  }
  const stream: Stream = createStream(from, {
    log,
    read,
    deliver: ({ seq }) => given.push(seq),
    reauthorize: () => reauthorize(given),
    resync: (seq) => resyncs.push(seq),
    onGapFilled: (count) => {
      counts.healed += count
    },
  })
  return { stream, given, resyncs, counts, log, table }
}

test('events in order are given out at once, without a look at the database', () => {
  const { stream, given, counts } = play(3, { seq: 3 })
  stream.enqueue([4, 5].map(event))
  stream.enqueue([event(6)])
  expect(given).toEqual([4, 5, 6])
  expect(stream.head()).toBe(6)
  expect(counts.reads).toBe(0)
})

test('what was given out before is dropped', () => {
  const { stream, given } = play(3, { seq: 5 })
  for (const seqs of [[1, 2, 3], [4], [4], [3, 4, 5], [5, 5]]) stream.enqueue(seqs.map(event))
  expect(given).toEqual([4, 5])
})

test('events that overtook each other are put in order without a look at the database', async () => {
  const { stream, given, counts } = play(0, { seq: 6 })
  for (const seq of [3, 2, 6, 5]) stream.enqueue([event(seq)])
  expect(given).toEqual([])
  stream.enqueue([event(1)])
  expect(given).toEqual([1, 2, 3])
  stream.enqueue([event(4)])
  expect(given).toEqual([1, 2, 3, 4, 5, 6])
  await Bun.sleep(40)
  expect(counts).toMatchObject({ reads: 0, healed: 0 })
})

test('a gap is read from the database, and what came early is not given out twice', async () => {
  const { stream, given, counts } = play(0, { seq: 4 })
  stream.enqueue([event(1), event(4)])
  await until(() => given.length === 4, 'healing', 1000)
  expect(given).toEqual([1, 2, 3, 4])
  stream.enqueue([event(4), event(5)])
  expect(given).toEqual([1, 2, 3, 4, 5])
  expect(counts.reads).toBe(1)
})

test('a gap of many pages is read page by page, one at a time, while more keeps coming', async () => {
  const { stream, given, counts, table } = play(0, { seq: 48 })
  stream.enqueue([event(48)])
  const feeding = (async () => {
    for (let seq = 49; seq <= 120; seq++) {
      table.seq = seq
      stream.enqueue([event(seq)])
      if (seq % 5 === 0) await Bun.sleep(1)
    }
  })()
  await feeding
  await until(() => stream.head() === 120)
  expect(given).toEqual(numbers(1, 120))
  expect(counts.most).toBe(1)
})

test('events far ahead are not kept without bound, and none is lost for it', async () => {
  const { stream, given } = play(0, { seq: 2000 })
  stream.enqueue(numbers(2, 2000).map(event))
  await until(() => stream.head() === 2000)
  expect(given).toEqual(numbers(1, 2000))
})

test('reach gives out everything up to a number that no event told of', async () => {
  const { stream, given, counts } = play(2, { seq: 13 })
  await stream.catchUp(13)
  expect(given).toEqual(numbers(3, 13))
  expect(counts.healed).toBe(11)
  await stream.catchUp(5)
  expect(given).toHaveLength(11)
})

test('a number that the database does not know is given up, and later events come', async () => {
  const { stream, given, table } = play(2, { seq: 3 })
  await stream.catchUp(9)
  expect(given).toEqual([3])
  table.seq = 4
  stream.enqueue([event(4)])
  expect(given).toEqual([3, 4])
})

test('history that is gone leads to a resync at the last number, then live events', async () => {
  const { stream, given, resyncs, table } = play(2, { seq: 10, kept: 6 })
  await stream.catchUp(10)
  expect(resyncs).toEqual([10])
  expect(given).toEqual([])
  expect(stream.head()).toBe(10)
  table.seq = 11
  stream.enqueue([event(10), event(11)])
  expect(given).toEqual([11])
})

test('after history that is gone nothing is given out until everyone has been let in anew', async () => {
  const door = Promise.withResolvers<void>()
  let tries = 0
  const { stream, given, resyncs, table } = play(2, { seq: 10, kept: 6 }, async () => {
    if (++tries === 1) throw new Error('the database is away')
    await door.promise
  })
  stream.enqueue([event(10)])
  await until(() => tries === 2, 'the second try', 4000)
  table.seq = 12
  stream.enqueue([11, 12].map(event))
  expect({ given, resyncs }).toEqual({ given: [], resyncs: [] })
  door.resolve()
  await until(() => given.length === 2)
  expect({ given, resyncs }).toEqual({ given: [11, 12], resyncs: [10] })
})

test('a read that fails is tried again until it works, and said once a failure', async () => {
  const { stream, given, log } = play(0, { seq: 3, faults: 2 })
  stream.enqueue([event(3)])
  await until(() => given.length === 3, 'healing', 4000)
  expect(given).toEqual([1, 2, 3])
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(2)
})

test('reach fails when the database is away, and works when it is back', async () => {
  const { stream, given } = play(0, { seq: 3, faults: 1 })
  await expect(stream.catchUp(3)).rejects.toThrow('the database is away')
  await stream.catchUp(3)
  expect(given).toEqual([1, 2, 3])
})

test('closed, it gives out nothing of what is still being read', async () => {
  const { stream, given } = play(0, { seq: 3 })
  const reached = stream.catchUp(3)
  stream.close()
  await reached
  expect(given).toEqual([])
})

test('however events come, each is given out once and in order', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  let state = seed
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state % below
  }
  for (let round = 0; round < 40; round++) {
    const { stream, given, table } = play(0, { seq: 0 })
    for (let sent = 0; sent < 60; sent++) {
      table.seq = Math.max(table.seq, sent)
      const seq = 1 + random(Math.max(1, table.seq))
      if (table.seq > 0 && random(3) > 0) stream.enqueue([event(seq)])
      if (random(10) === 0) await Bun.sleep(0)
    }
    await stream.catchUp(table.seq)
    expect({ seed, given }).toEqual({ seed, given: numbers(1, table.seq) })
  }
})
