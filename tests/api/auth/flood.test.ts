/** Hashing passwords is expensive: a flood of sign-ins is shed, and no other request waits for it. */

import { beforeAll, expect, test } from 'bun:test'
import { availableParallelism } from 'node:os'
import { login, resetTokenFor } from '../../support/auth.ts'
import { type Answer, createClient } from '../../support/client.ts'
import { freshEmail, goodPassword, makeList, makeTenant, makeUser, superAdmin } from '../../support/people.ts'
import { describeService, hashingServer, type TestServer } from '../../support/server.ts'
import { until } from '../../support/until.ts'

const floodSize = 150
/** Running hashes plus queued ones. */
const capacity = availableParallelism() + 64
/** Without those kept for people who are known. */
const capacityOfStrangers = capacity - 16
const capacityOfBlock = 8

let blocks = 0
/** In a block of addresses of its own: nobody fills the line alone. */
const freshAddress = (): string => `10.${++blocks >> 8}.${blocks & 255}.1`

describeService('a flood of sign-ins', (backend) => {
  let server: TestServer
  beforeAll(async () => {
    server = await hashingServer(backend)
  })

  test('gets 503 with Retry-After past the limit, while other calls are still answered', async () => {
    let over = false
    const flood = Promise.all(
      Array.from({ length: floodSize }, () =>
        login(server, freshEmail('flood'), 'not the password', freshAddress()),
      ),
    ).finally(() => {
      over = true
    })
    let [answeredBetween, mostAtOnce] = [0, 0]
    while (!over) {
      const answer = await fetch(`${server.url}/healthz`)
      await answer.text()
      expect(answer.status).toBe(200)
      answeredBetween++
      mostAtOnce = Math.max(mostAtOnce, hashesUnderWay(server))
    }
    const answers = await flood
    const busy = answers.filter(({ status }) => status === 503)
    for (const answer of busy) expectBusy(answer)
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(floodSize - busy.length)
    expect(busy.length).toBeGreaterThan(0)
    expect(busy.length).toBeLessThan(floodSize)
    expect(mostAtOnce).toBeLessThanOrEqual(capacityOfStrangers)
    expect(answeredBetween).toBeGreaterThan(3)
    expect((await login(server, server.superAdmin.email, server.superAdmin.password)).status).toBe(200)
  })

  test('has a queue of its own: when it is full, every hashing route fails immediately and no other route waits', async () => {
    const tenant = await makeTenant(server)
    const [ann, ben] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    const list = await makeList(ann)
    const root = await superAdmin(server)
    const token = await resetTokenFor(server, ben.email)
    const newcomer = { email: freshEmail(), full_name: 'Late', password: goodPassword }
    const company = { name: 'Late', admin: { ...newcomer, email: freshEmail() } }
    const change = { current_password: goodPassword, new_password: 'quite another one' }
    const reset = { token, new_password: 'quite another one' }
    const hashing: [string, Ask, status: number][] = [
      ['a login', () => login(server, ann.email), 200],
      ['changing a password', () => ann.api.post('/auth/change-password', change), 204],
      ['resetting one', () => createClient(server.url).post('/auth/reset-password', reset), 204],
      ['a new user', () => tenant.admin.api.post('/users', newcomer), 201],
      ['a new tenant', () => root.api.post('/tenants', company), 201],
    ]
    const others: [string, Ask, status: number][] = [
      ['who am I', () => ann.api.get('/auth/me'), 200],
      ['reading a list', () => ann.api.get(`/shopping-lists/${list.id}`), 200],
      ['adding an item', () => ann.api.post(`/shopping-lists/${list.id}/items`, { name: 'Milk' }), 201],
      ['being turned away', () => login(server, ann.email), 503],
    ]
    const queue = await keepFull(server)
    try {
      for (const [, ask] of hashing) expectBusy(await ask())
      const typical: [string, milliseconds: number][] = []
      for (const [what, ask, status] of others) {
        const taken: number[] = []
        for (let count = 0; count < 15; count++) {
          const begun = performance.now()
          expect([what, (await ask()).status]).toEqual([what, status])
          taken.push(performance.now() - begun)
        }
        typical.push([what, median(taken)])
      }
      await until(() => queue.waits.length >= capacity, 'the end of the queue', 30_000)
      // Anything queued, or blocked by one hash after another, would take as long as those in the queue.
      expect(typical.filter(([, milliseconds]) => milliseconds > median(queue.waits) / 3)).toEqual([])
      expect(hashesUnderWay(server)).toBe(capacity)
    } finally {
      await queue.end()
    }
    expect(hashesUnderWay(server)).toBe(0)
    // Nothing was half done: each succeeds as if for the first time.
    for (const [what, ask, status] of hashing) expect([what, (await ask()).status]).toEqual([what, status])
  })

  test('from one IPv6 /48, or one IPv4 /24, takes eight places and nobody else’s', async () => {
    for (const addressOf of [
      (count: number) => `2001:db8:77:${count.toString(16)}::1`,
      (count: number) => `198.51.100.${count & 255}`,
    ]) {
      const flood = keepSigningIn(server, 12, addressOf)
      await until(() => flood.statuses().includes(503), 'a full block')
      const right: number[] = []
      for (let count = 0; count < 4; count++)
        right.push(
          (await login(server, server.superAdmin.email, server.superAdmin.password, freshAddress())).status,
        )
      const mostAtOnce = await flood.end()
      expect(right).toEqual(Array.from({ length: 4 }, () => 200))
      expect(mostAtOnce).toBeLessThanOrEqual(capacityOfBlock + 1)
      expect(new Set(flood.statuses())).toEqual(new Set([401, 503]))
    }
  })

  test('from everywhere leaves places for networks that an account knows', async () => {
    const ann = await makeUser(server, await makeTenant(server))
    const home = freshAddress()
    expect((await login(server, ann.email, goodPassword, home)).status).toBe(200)
    const flood = keepSigningIn(server, capacityOfStrangers + 10, freshAddress)
    await until(() => flood.statuses().includes(503), 'a full line')
    const signIn = async (address: string) => (await login(server, ann.email, goodPassword, address)).status
    // A place may fall free for one of them, but not for half of them.
    const strange = Promise.all(Array.from({ length: 20 }, () => signIn(freshAddress())))
    const known = [await signIn(home), await signIn(home)]
    const mostAtOnce = await flood.end()
    expect(known).toEqual([200, 200])
    expect((await strange).filter((status) => status === 503).length).toBeGreaterThan(10)
    expect(mostAtOnce).toBeLessThanOrEqual(capacityOfStrangers + 1)
  })
})

/** Wrong sign-ins, so many at a time, until they are ended. */
function keepSigningIn(server: TestServer, atOnce: number, addressOf: (count: number) => string) {
  const statuses: number[] = []
  let [begun, mostAtOnce, isOver] = [0, 0, false]
  const one = async (): Promise<void> => {
    while (!isOver) {
      statuses.push((await login(server, freshEmail('flood'), 'not the password', addressOf(++begun))).status)
      mostAtOnce = Math.max(mostAtOnce, hashesUnderWay(server))
    }
  }
  const all = Array.from({ length: atOnce }, one)
  return {
    statuses: () => statuses,
    /** @returns how many hashes were under way at once, at most */
    async end() {
      isOver = true
      await Promise.all(all)
      return mostAtOnce
    },
  }
}

type Ask = () => Promise<Answer>

const hashesUnderWay = ({ running: { deps } }: TestServer): number => {
  const { running, waiting } = deps.passwords.load()
  return running + waiting
}

function expectBusy({ status, body, headers }: Answer): void {
  expect([status, body.code]).toEqual([503, 'busy'])
  expect(headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
}

/** Keeps the queue full; `waits` has the milliseconds that each hash took. */
async function keepFull(server: TestServer) {
  const { passwords } = server.running.deps
  const waits: number[] = []
  const underWay = new Set<Promise<void>>()
  let over = false
  // If hashing blocked the event loop, nothing else would get to end this.
  const deadline = performance.now() + 30_000
  const begin = (): void => {
    const begun = performance.now()
    const hash = passwords.verify(null, 'some password', null).then(() => {
      waits.push(performance.now() - begun)
      underWay.delete(hash)
      if (!over && performance.now() < deadline) begin()
    })
    underWay.add(hash)
  }
  for (let count = 0; count < capacity; count++) begin()
  await until(() => hashesUnderWay(server) === capacity, 'a full queue')
  return {
    waits,
    async end() {
      over = true
      await Promise.all(underWay)
    },
  }
}

const median = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
