/** The line in front of large reads: how many are read at once, who is next, and who gives up. */
import { expect, test } from 'bun:test'
import type { Actor } from '../../src/access/actor.ts'
import { createLine, type Line, type Place } from '../../src/access/reading-lines.ts'

const actor = (userId: string, tenantId = 'tenant'): Actor => ({
  userId,
  tenantId,
  role: 'member',
  sessionId: `session of ${userId}`,
})
const staying = new AbortController().signal

/** Enters, and notes it once in. */
const entering = (line: Line, who: Actor, entered: string[], name = who.userId, gone = staying) =>
  line.enter(who, gone).then((place) => {
    entered.push(name)
    return place
  })

/** Starts a read that lasts until `end` is called. */
function longRead(place: Place, started: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = place.read(async () => {
    started.push(name)
    await promise
  })
  return { done, end: resolve }
}

/** Everything that could go on without an event from outside has. */
const settled = () => Bun.sleep(0)

const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: unknown) => error,
  )

test('a user has two places; the others wait in their order, until one is left', async () => {
  const line = createLine(4)
  const ann = actor('ann')
  const entered: string[] = []
  const places = ['1', '2', '3', '4'].map((name) => entering(line, ann, entered, name))
  await settled()
  expect(entered).toEqual(['1', '2'])
  expect(line.enterNow(ann, staying)).toBeNull()
  // Another user does not wait for them.
  const bens = await line.enter(actor('ben'), staying)
  const [first, second] = await Promise.all(places.slice(0, 2))
  second?.leave()
  second?.leave()
  await settled()
  expect(entered).toEqual(['1', '2', '3'])
  first?.leave()
  for (const place of await Promise.all(places)) place.leave()
  bens.leave()
  expect(line.counts()).toEqual({ held: 0, waiting: 0, refused: 0 })
})

test('an instance makes a few reads at once; tenants take turns, and one leaves room for another', async () => {
  const line = createLine(3)
  const started: string[] = []
  const reads = new Map<string, ReturnType<typeof longRead>>()
  const read = async (name: string, tenantId: string) => {
    const place = await line.enter(actor(name, tenantId), staying)
    reads.set(name, longRead(place, started, name))
  }
  for (const name of ['a1', 'a2', 'a3', 'a4']) await read(name, 'a')
  await settled()
  expect(started).toEqual(['a1', 'a2'])
  for (const name of ['b1', 'b2', 'c1']) await read(name, name.slice(0, 1))
  await settled()
  expect(started).toEqual(['a1', 'a2', 'b1'])
  for (const name of ['b1', 'a1', 'a2', 'b2', 'c1', 'a3', 'a4']) {
    reads.get(name)?.end()
    await reads.get(name)?.done
    await settled()
  }
  // After b1, the two reads of a are all that it may make; then whoever was served longest ago is next.
  expect(started).toEqual(['a1', 'a2', 'b1', 'b2', 'a3', 'c1', 'a4'])
})

test('a read that fails gives its room back', async () => {
  const line = createLine(2)
  const place = await line.enter(actor('ann'), staying)
  for (let round = 0; round < 3; round++)
    expect(await failureOf(place.read(() => Promise.reject(new Error('failed'))))).toMatchObject({
      message: 'failed',
    })
  expect(await place.read(async () => 'read')).toBe('read')
})

test('who is gone leaves the line, and the next one is served', async () => {
  const line = createLine(4)
  const ann = actor('ann')
  const entered: string[] = []
  const held = await Promise.all([line.enter(ann, staying), line.enter(ann, staying)])
  const leaving = new AbortController()
  const gone = failureOf(entering(line, ann, entered, 'gone', leaving.signal))
  const next = entering(line, ann, entered, 'next')
  // In one step with the place that is given back, which must not be lost on them.
  leaving.abort()
  held[0].leave()
  expect(await gone).toMatchObject({ code: 'busy', status: 503 })
  const place = await next
  expect(entered).toEqual(['next'])
  for (const one of [held[1], place]) one.leave()
  expect(line.counts()).toMatchObject({ held: 0, waiting: 0 })
  expect(await failureOf(line.enter(ann, leaving.signal).then((one) => one.leave()))).toBeNull()
})

test('a user fills a bounded line, past which the answer is 503 with Retry-After; another finds room', async () => {
  const line = createLine(4)
  const ann = actor('ann')
  const leaving = new AbortController()
  const waiting = Array.from({ length: 102 }, () => failureOf(line.enter(ann, leaving.signal)))
  await settled()
  expect(line.counts()).toEqual({ held: 2, waiting: 100, refused: 0 })
  expect(await failureOf(line.enter(ann, staying))).toMatchObject({
    code: 'busy',
    status: 503,
    extras: { retryAfterSeconds: 2 },
  })
  expect(line.counts().refused).toBe(1)
  expect(line.enterNow(actor('ben'), staying)).not.toBeNull()
  leaving.abort()
  const failures = await Promise.all(waiting)
  expect(failures.filter((failure) => failure !== null)).toHaveLength(100)
  expect(line.counts()).toMatchObject({ waiting: 0, refused: 101 })
})
