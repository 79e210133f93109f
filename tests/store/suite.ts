/** What every store guarantees, whatever its backend. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { OpenStore } from '../../src/store/open.ts'
import { until } from '../support/until.ts'

export interface StoresUnderTest {
  /** Two instances that share their entries. */
  stores: [OpenStore, OpenStore]
  end(): Promise<void>
}

const text = 'plain "quoted" \'single\' \\back\n\ttab \u0001 é ñ 漢字 🛒 %s $1 {"a":null} \u{10ffff}'
const times = <T>(amount: number, make: (index: number) => T): T[] =>
  Array.from({ length: amount }, (_, i) => make(i))

export function storeSuite(open: () => Promise<StoresUnderTest>): void {
  let under: StoresUnderTest
  let store: OpenStore
  let other: OpenStore
  let keys = 0
  const freshKey = (): string => `key-${++keys}`

  beforeAll(async () => {
    under = await open()
    ;[store, other] = under.stores
  }, 60_000)
  afterAll(() => under.end())

  test('the other instance reads what one sets, until it is deleted', async () => {
    const key = freshKey()
    expect(await store.get(key)).toBeNull()
    await store.set(key, 'one', 60)
    expect(await other.get(key)).toBe('one')
    await other.set(key, 'two', 60)
    expect(await store.get(key)).toBe('two')
    expect(await store.delete(key)).toBe(true)
    expect(await other.delete(key)).toBe(false)
    expect(await store.get(key)).toBeNull()
  })

  test('keys and values keep every character, up to their limits', async () => {
    await store.set(text, text, 60)
    expect(await store.get(text)).toBe(text)
    expect(await store.compareAndSet(text, text, '', 60)).toBe(true)
    expect(await store.get(text)).toBe('')
    expect(await store.compareAndSet(text, '', `${text}!`, 60)).toBe(true)
    const largest = 'ü'.repeat(32 * 1024)
    await store.set('k'.repeat(512), largest, 60)
    expect(await store.get('k'.repeat(512))).toBe(largest)
  })

  test('a key, value or TTL beyond its limit is refused', async () => {
    await expect(store.get('k'.repeat(513))).rejects.toThrow(RangeError)
    await expect(store.set('key', 'v'.repeat(64 * 1024 + 1), 60)).rejects.toThrow(RangeError)
    await expect(store.set('key', 'nul \0', 60)).rejects.toThrow(RangeError)
    await expect(store.set('key', 'half \ud800', 60)).rejects.toThrow(RangeError)
    await expect(store.set('key', 'value', 0.5)).rejects.toThrow(RangeError)
    await expect(store.increment('key', Number.NaN)).rejects.toThrow(RangeError)
  })

  test('compare-and-set distinguishes absent from present on either side', async () => {
    const key = freshKey()
    expect(await store.compareAndSet(key, null, null, 60)).toBe(true)
    expect(await store.compareAndSet(key, 'one', 'two', 60)).toBe(false)
    expect(await store.compareAndSet(key, 'one', null, 60)).toBe(false)
    expect(await store.get(key)).toBeNull()
    expect(await store.compareAndSet(key, null, '', 60)).toBe(true)
    expect(await store.compareAndSet(key, null, 'two', 60)).toBe(false)
    expect(await store.compareAndSet(key, null, null, 60)).toBe(false)
    expect(await store.compareAndSet(key, '', 'two', 60)).toBe(true)
    expect(await store.compareAndSet(key, 'one', 'three', 60)).toBe(false)
    expect(await store.compareAndSet(key, 'one', null, 60)).toBe(false)
    expect(await store.get(key)).toBe('two')
    expect(await store.compareAndSet(key, 'two', null, 60)).toBe(true)
    expect(await store.get(key)).toBeNull()
  })

  for (const [title, before, after] of [
    ['change it', 'old', (index: number) => `new ${index}`],
    ['create it', null, (index: number) => `new ${index}`],
    ['delete it', 'old', () => null],
  ] as const)
    test(`of 50 concurrent attempts to ${title}, one succeeds`, async () => {
      const key = freshKey()
      if (before !== null) await store.set(key, before, 60)
      const won = await Promise.all(
        times(50, (index) => (index % 2 ? store : other).compareAndSet(key, before, after(index), 60)),
      )
      expect(won.filter(Boolean)).toHaveLength(1)
      expect(await store.get(key)).toBe(after(won.indexOf(true)))
    })

  test('of 50 concurrent deletions, one finds the entry', async () => {
    const key = freshKey()
    await store.set(key, 'once', 60)
    const had = await Promise.all(times(50, (index) => (index % 2 ? store : other).delete(key)))
    expect(had.filter(Boolean)).toHaveLength(1)
  })

  test('100 concurrent increments count to 100, each number returned once', async () => {
    const key = freshKey()
    const counted = await Promise.all(times(100, (index) => (index % 2 ? store : other).increment(key, 60)))
    expect(counted.map(({ count }) => count).toSorted((a, b) => a - b)).toEqual(
      times(100, (index) => index + 1),
    )
    for (const { expiresInMs } of counted) {
      expect(expiresInMs).toBeGreaterThan(50_000)
      expect(expiresInMs).toBeLessThanOrEqual(60_000)
    }
    expect(await store.get(key)).toBe('100')
  })

  test('later increments do not extend the life of a counter', async () => {
    const key = freshKey()
    const first = await store.increment(key, 60)
    const second = await store.increment(key, 6000)
    expect(second.count).toBe(2)
    expect(second.expiresInMs).toBeLessThanOrEqual(first.expiresInMs)
  })

  test('an expired entry behaves as if it never existed, for every call', async () => {
    const names = ['get', 'delete', 'create', 'change', 'take', 'nothing', 'count'].map(
      (name) => `expired-${name}`,
    )
    const [get = '', remove = '', create = '', change = '', take = '', nothing = '', count = ''] = names
    await Promise.all(names.map((name) => store.set(name, '7', 1)))
    expect(await store.get(get)).toBe('7')
    await until(async () => (await store.get(get)) === null)
    // Set before the others expire too, all within the same second.
    await until(async () =>
      (await Promise.all(names.map((name) => store.get(name)))).every((value) => value === null),
    )
    expect(await store.delete(remove)).toBe(false)
    expect(await store.compareAndSet(change, '7', '8', 60)).toBe(false)
    expect(await store.compareAndSet(take, '7', null, 60)).toBe(false)
    expect(await store.compareAndSet(nothing, null, null, 60)).toBe(true)
    expect(await store.compareAndSet(create, null, '8', 60)).toBe(true)
    expect(await store.get(create)).toBe('8')
    expect(await store.increment(count, 60)).toMatchObject({ count: 1 })
    expect(await store.get(count)).toBe('1')
  })

  test('set and compare-and-set give an entry a new TTL', async () => {
    const [set, exchanged] = [freshKey(), freshKey()]
    await store.set(set, 'one', 1)
    await store.set(set, 'two', 60)
    await store.set(exchanged, 'one', 1)
    await store.compareAndSet(exchanged, 'one', 'two', 60)
    const control = freshKey()
    await store.set(control, 'one', 1)
    await until(async () => (await store.get(control)) === null)
    expect(await store.get(set)).toBe('two')
    expect(await store.get(exchanged)).toBe('two')
  })

  test('of 50 concurrent attempts to replace an expired entry, one succeeds', async () => {
    const key = freshKey()
    await store.set(key, 'old', 1)
    await until(async () => (await store.get(key)) === null)
    const won = await Promise.all(
      times(50, (index) => (index % 2 ? store : other).compareAndSet(key, null, `new ${index}`, 60)),
    )
    expect(won.filter(Boolean)).toHaveLength(1)
  })

  test('a ping is answered', () => store.ping())
}
