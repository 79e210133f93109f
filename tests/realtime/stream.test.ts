/** A stream alone, on a fake database: events in order, each once, none missing. */

import { expect, test } from 'bun:test'
import type { ListEvent } from '../../src/features/list-changes/events.ts'
import type { HistoryPosition } from '../../src/lib/history-position.ts'
import type { EventPage } from '../../src/realtime/event-log.ts'
import { createStream, type Stream } from '../../src/realtime/stream.ts'
import { recordingLogger } from '../support/log.ts'
import { until } from '../support/until.ts'

const pageSize = 5

const markIn = (history: string, seq: number): string => (seq === 0 ? '' : `${history}${seq}`)
const at = (seq: number, history = 'a'): HistoryPosition => ({ seq, mark: markIn(history, seq) })
const event = (seq: number, history = 'a'): ListEvent => ({
  ...at(seq, history),
  previous: markIn(history, seq - 1),
  type: 'item_added',
  userId: null,
  text: `event ${seq}`,
})
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)

/**
 * A stream at `from`, on a list with head `table.seq` in the database, which keeps events after `table.kept`, all of
 * `table.history`.
 */
function play(
  from: number,
  table: { seq: number; kept?: number; faults?: number; history?: string },
  reauthorize: (delivered: readonly number[]) => Promise<void> = async () => undefined,
) {
  const delivered: number[] = []
  const resyncs: number[] = []
  const counts = { reads: 0, filled: 0, reading: 0, most: 0 }
  const log = recordingLogger()
  const read = async (cursor: HistoryPosition): Promise<EventPage> => {
    counts.reads++
    counts.most = Math.max(counts.most, ++counts.reading)
    await Bun.sleep(1)
    counts.reading--
    if (table.faults && table.faults-- > 0) throw new Error('the database is away')
    const { history = 'a', seq, kept = 0 } = table
    const head = at(seq, history)
    if (cursor.seq > seq || cursor.mark !== markIn(history, cursor.seq))
      return { events: [], head, state: 'changed' }
    const first = Math.max(cursor.seq, kept) + 1
    const events = numbers(first, Math.min(seq, first + pageSize - 1)).map((number) => event(number, history))
    const isExpired = seq > cursor.seq && first !== cursor.seq + 1
    return { events, head, state: isExpired ? 'expired' : 'continues' }
  }
  const stream: Stream = createStream(at(from), {
    log,
    read,
    deliver: ({ seq }) => delivered.push(seq),
    reauthorize: () => reauthorize(delivered),
    resync: ({ seq }) => resyncs.push(seq),
    onGapFilled: (count) => {
      counts.filled += count
    },
  })
  return { stream, delivered, resyncs, counts, log, table }
}

test('events in order are delivered immediately, without reading the database', () => {
  const { stream, delivered, counts } = play(3, { seq: 3 })
  stream.enqueue([4, 5].map((seq) => event(seq)))
  stream.enqueue([event(6)])
  expect(delivered).toEqual([4, 5, 6])
  expect(stream.head()).toEqual(at(6))
  expect(counts.reads).toBe(0)
})

test('events delivered before are dropped', () => {
  const { stream, delivered } = play(3, { seq: 5 })
  for (const seqs of [[1, 2, 3], [4], [4], [3, 4, 5], [5, 5]]) stream.enqueue(seqs.map((seq) => event(seq)))
  expect(delivered).toEqual([4, 5])
})

test('reordered events are put in order without reading the database', async () => {
  const { stream, delivered, counts } = play(0, { seq: 6 })
  for (const seq of [3, 2, 6, 5]) stream.enqueue([event(seq)])
  expect(delivered).toEqual([])
  stream.enqueue([event(1)])
  expect(delivered).toEqual([1, 2, 3])
  stream.enqueue([event(4)])
  expect(delivered).toEqual([1, 2, 3, 4, 5, 6])
  await Bun.sleep(40)
  expect(counts).toMatchObject({ reads: 0, filled: 0 })
})

test('a gap is read from the database, and early events are not delivered twice', async () => {
  const { stream, delivered, counts } = play(0, { seq: 4 })
  stream.enqueue([event(1), event(4)])
  await until(() => delivered.length === 4, 'the gap to be filled', 1000)
  expect(delivered).toEqual([1, 2, 3, 4])
  stream.enqueue([event(4), event(5)])
  expect(delivered).toEqual([1, 2, 3, 4, 5])
  expect(counts.reads).toBe(1)
})

test('a long gap is read page by page, one at a time, while more events arrive', async () => {
  const { stream, delivered, counts, table } = play(0, { seq: 48 })
  stream.enqueue([event(48)])
  const feeding = (async () => {
    for (let seq = 49; seq <= 120; seq++) {
      table.seq = seq
      stream.enqueue([event(seq)])
      if (seq % 5 === 0) await Bun.sleep(1)
    }
  })()
  await feeding
  await until(() => stream.head().seq === 120)
  expect(delivered).toEqual(numbers(1, 120))
  expect(counts.most).toBe(1)
})

test('early events are buffered within a bound, and none is lost', async () => {
  const { stream, delivered } = play(0, { seq: 2000 })
  stream.enqueue(numbers(2, 2000).map((seq) => event(seq)))
  await until(() => stream.head().seq === 2000)
  expect(delivered).toEqual(numbers(1, 2000))
})

test('catchUp delivers everything up to a number no event has announced', async () => {
  const { stream, delivered, counts } = play(2, { seq: 13 })
  await stream.catchUp(13)
  expect(delivered).toEqual(numbers(3, 13))
  expect(counts.filled).toBe(11)
  await stream.catchUp(5)
  expect(delivered).toHaveLength(11)
})

test('a number beyond the database’s head is abandoned, and later events are delivered', async () => {
  const { stream, delivered, table } = play(2, { seq: 3 })
  await stream.catchUp(9)
  expect(delivered).toEqual([3])
  table.seq = 4
  stream.enqueue([event(4)])
  expect(delivered).toEqual([3, 4])
})

test('expired history leads to a resync at the head, then live events', async () => {
  const { stream, delivered, resyncs, table } = play(2, { seq: 10, kept: 6 })
  await stream.catchUp(10)
  expect(resyncs).toEqual([10])
  expect(delivered).toEqual([])
  expect(stream.head()).toEqual(at(10))
  table.seq = 11
  stream.enqueue([event(10), event(11)])
  expect(delivered).toEqual([11])
})

test('after expired history nothing is delivered until every subscriber is reauthorized', async () => {
  const door = Promise.withResolvers<void>()
  let tries = 0
  const { stream, delivered, resyncs, table } = play(2, { seq: 10, kept: 6 }, async () => {
    if (++tries === 1) throw new Error('the database is away')
    await door.promise
  })
  stream.enqueue([event(10)])
  await until(() => tries === 2, 'the second try', 4000)
  table.seq = 12
  stream.enqueue([11, 12].map((seq) => event(seq)))
  expect({ delivered, resyncs }).toEqual({ delivered: [], resyncs: [] })
  door.resolve()
  await until(() => delivered.length === 2)
  expect({ delivered, resyncs }).toEqual({ delivered: [11, 12], resyncs: [10] })
})

test('a failed read is retried until it works, and each failure logged once', async () => {
  const { stream, delivered, log } = play(0, { seq: 3, faults: 2 })
  stream.enqueue([event(3)])
  await until(() => delivered.length === 3, 'the gap to be filled', 4000)
  expect(delivered).toEqual([1, 2, 3])
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(2)
})

test('catchUp fails while the database is down, and works once it is back', async () => {
  const { stream, delivered } = play(0, { seq: 3, faults: 1 })
  await expect(stream.catchUp(3)).rejects.toThrow('the database is away')
  await stream.catchUp(3)
  expect(delivered).toEqual([1, 2, 3])
})

test('after close, a pending read delivers nothing', async () => {
  const { stream, delivered } = play(0, { seq: 3 })
  const reached = stream.catchUp(3)
  stream.close()
  await reached
  expect(delivered).toEqual([])
})

test('a history that went back to a lower number leads to a resync there, then to its own events', async () => {
  const { stream, delivered, resyncs, table } = play(52, { seq: 22, history: 'b' })
  stream.enqueue([event(23, 'b')])
  expect(delivered).toEqual([])
  await stream.catchUp(22)
  expect(resyncs).toEqual([22])
  table.seq = 24
  stream.enqueue([24, 25].map((seq) => event(seq, 'b')))
  await until(() => delivered.length > 0)
  expect({ delivered, resyncs }).toEqual({ delivered: [23, 24, 25], resyncs: [22] })
})

test('an event that follows by its number and not by its mark is not delivered', async () => {
  const { stream, delivered, resyncs } = play(52, { seq: 60, history: 'b' })
  stream.enqueue([event(53, 'b')])
  await until(() => resyncs.length > 0)
  expect({ delivered, resyncs, head: stream.head() }).toEqual({
    delivered: [],
    resyncs: [60],
    head: at(60, 'b'),
  })
})

test('an event of another history than the database holds is dropped', async () => {
  const { stream, delivered, resyncs } = play(3, { seq: 4 })
  stream.enqueue([event(4, 'forged')])
  await until(() => delivered.length > 0)
  expect({ delivered, resyncs, head: stream.head() }).toEqual({ delivered: [4], resyncs: [], head: at(4) })
})

test('however events arrive, each is delivered once and in order', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  let state = seed
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state % below
  }
  for (let round = 0; round < 40; round++) {
    const { stream, delivered, table } = play(0, { seq: 0 })
    for (let sent = 0; sent < 60; sent++) {
      table.seq = Math.max(table.seq, sent)
      const seq = 1 + random(Math.max(1, table.seq))
      if (table.seq > 0 && random(3) > 0) stream.enqueue([event(seq)])
      if (random(10) === 0) await Bun.sleep(0)
    }
    await stream.catchUp(table.seq)
    expect({ seed, delivered }).toEqual({ seed, delivered: numbers(1, table.seq) })
  }
})
