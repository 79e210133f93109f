/** Over which connection a call goes, by what the connections carry; no database takes part. */
import { beforeEach, expect, spyOn, test } from 'bun:test'
import type { Connection } from '../../../src/db/postgres/connection.ts'
import { createLoads, createPlaces, type Job } from '../../../src/db/postgres/places.ts'
import type { Slots } from '../../../src/db/postgres/slots.ts'

const maxConnections = 6

let loads: ReturnType<typeof createLoads>
let find: ReturnType<typeof createPlaces>
let live: Connection[]
beforeEach(() => {
  loads = createLoads()
  live = []
  const open = (): Connection => {
    const connection = {} as Connection
    live.push(connection)
    return connection
  }
  const slots = { live: () => live, mayOpen: () => live.length < maxConnections, open } as Partial<Slots>
  find = createPlaces(slots as Slots, loads, maxConnections)
})

const call = (kind: 'read' | 'write', tenant: string, more: Partial<Job> = {}): Job => ({
  kind,
  tenant,
  line: `${kind} ${tenant}`,
  row: null,
  findRow: undefined,
  isPatient: false,
  connection: null,
  isGivenUp: false,
  send: async () => false,
  reject: () => undefined,
  ...more,
})
const read = (tenant: string) => call('read', tenant)
const write = (tenant: string, more: Partial<Job> = {}) => call('write', tenant, more)

/** The number of the connection that a call has been put on; or who has to wait. */
function put(job: Job): number | string {
  const place = find(job)
  if ('blocked' in place) return place.blocked
  loads.add(place.connection, job)
  return live.indexOf(place.connection)
}
const times = <T>(count: number, act: () => T): T[] => Array.from({ length: count }, act)

test('each call gets a connection of its own while there are any, then the one with the fewest', () => {
  expect([read('a'), read('b'), write('a'), write('b')].map(put)).toEqual([0, 1, 2, 3])
  expect([read('a'), read('a')].map(put)).toEqual([4, 5])
  expect(put(read('a'))).toBeOneOf([0, 4, 5])
})

test('a tenant leaves connections to the others, and so do reads and writes', () => {
  // Eight fit on each of the three that one kind of one tenant's calls may have.
  expect(new Set(times(24, () => put(write('a'))))).toEqual(new Set([0, 1, 2]))
  expect(put(write('a'))).toBe('write a')
  expect(put(write('b'))).toBe(3)
  // Four of six is as much as writes may have.
  expect(put(write('c'))).toBe('write c')
  expect(put(read('a'))).toBe(4)
  // That was the tenant's fourth; others find the rest.
  expect(put(read('c'))).toBe(5)
})

test('writes share a connection with no read and no other tenant, reads with each other', () => {
  expect([write('a'), write('b'), read('a'), read('b')].map(put)).toEqual([0, 1, 2, 3])
  const full = createPlaces({ live: () => live, mayOpen: () => false } as Partial<Slots> as Slots, loads, 6)
  const placeOf = (job: Job) => {
    const place = full(job)
    return 'blocked' in place ? place.blocked : live.indexOf(place.connection)
  }
  expect(placeOf(write('a'))).toBe(0)
  expect(placeOf(write('c'))).toBe('write c')
  expect(placeOf(read('c'))).toBeOneOf([2, 3])
})

test('writes of one row go two at a time over one connection, and block only each other', () => {
  const ofRow = () => write('a', { row: 'row' })
  expect(times(3, () => put(ofRow()))).toEqual([0, 0, 'row'])
  expect(put(write('a', { row: 'other' }))).toBe(1)
})

test('nothing but the same row goes behind a call that may wait long for a lock', () => {
  const patient = { row: 'row', isPatient: true }
  for (const more of [patient, {}, {}]) put(write('a', more))
  // The others carry as much or more: without patience the first could be any of them.
  expect(new Set(times(14, () => put(write('a'))))).toEqual(new Set([1, 2]))
  expect(put(write('a'))).toBe('write a')
  expect(put(write('a', { row: 'row' }))).toBe(0)
})

test('nothing goes behind a connection that makes no progress', () => {
  const now = performance.now()
  for (let index = 0; index < 3; index++) put(write('a'))
  const clock = spyOn(performance, 'now').mockReturnValue(now + 1000)
  try {
    expect(put(write('a'))).toBe('write a')
    const [first] = live
    const [job] = first ? loads.of(first) : []
    if (first && job) loads.remove(first, job)
    expect(put(write('a'))).toBe(0)
  } finally {
    clock.mockRestore()
  }
})

test('of those who wait the tenant with the least under way goes first, and each in its order', () => {
  for (const job of [read('a'), read('a'), read('b')]) put(job)
  const [later, first, second] = [read('a'), read('b'), read('b')]
  expect(loads.mostDeserving([later, first, second], new Set())).toBe(first)
  expect(loads.mostDeserving([later, first], new Set([first.line]))).toBe(later)
  const locked = write('c', { row: 'row' })
  expect(loads.mostDeserving([locked, later], new Set(['row']))).toBe(later)
})
