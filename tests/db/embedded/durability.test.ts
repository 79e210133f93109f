/**
 * Acknowledged writes survive kill -9: each is there once, with one event, without gaps, and sessions stay valid.
 * A failure prints its seed; MINIMART_KILL_SEED repeats it as far as a race can be repeated.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createClient } from '../../support/client.ts'
import { asPerson, makeList, makeTenant, makeUser, type Person } from '../../support/people.ts'
import { asServer, describeExecutable, environmentFor, type Running } from '../../support/program.ts'
import { report, rounds, seedOf } from '../../support/rounds.ts'
import { type Inbox, startInbox } from '../../support/smtp.ts'
import { until } from '../../support/until.ts'

const seed = seedOf('KILL')
const kills = rounds('KILL', { suite: 3, long: 100 })
const testTimeoutMs = 60_000 + kills * 10_000
const writers = 4
const killWithinMs = 300

interface Ledger {
  /** Acknowledged item ids (201), by list. */
  items: Map<string, string[]>
  /** Sent, but never answered. */
  unknown: { listId: string; id: string }[]
  refreshTokens: string[]
}

describeExecutable('the embedded database, killed under writes', (program) => {
  let inbox: Inbox
  let environment: Record<string, string>
  beforeAll(async () => {
    inbox = await startInbox()
    environment = environmentFor(inbox, await program.dataDir('migrated'))
  })
  afterAll(() => inbox.stop())
  const serve = async (): Promise<Running> => (await program.start([], { env: environment })).ready()
  const serverOf = (running: Running) => asServer(running, { backend: 'embedded', inbox, environment })

  test(
    `loses nothing acknowledged, and duplicates nothing (seed ${seed})`,
    async () => {
      const random = randomFrom(seed)
      let running = await serve()
      const tenant = await makeTenant(serverOf(running))
      const owner = await makeUser(serverOf(running), tenant)
      const lists = await Promise.all(['A', 'B', 'C'].map(async (name) => (await makeList(owner, name)).id))
      const seen = new Map(lists.map((listId) => [listId, { ids: new Set<string>(), seq: 0 }]))
      for (let round = 0; round < kills; round++) {
        const person = await asPerson(serverOf(running), owner.email, owner.password)
        const ledger = await writeUntilKilled(running, person, lists, random)
        running = await serve()
        await expectKept(running, owner, ledger, seen)
      }
      const kept = [...seen.values()].reduce((sum, { ids }) => sum + ids.size, 0)
      expect(kept).toBeGreaterThan(20)
      report(`killed ${kills} times, ${kept} items kept, seed ${seed}`)
      running.signal('SIGTERM')
      expect(await running.exited).toBe(0)
    },
    testTimeoutMs,
  )
})

async function writeUntilKilled(
  running: Running,
  person: Person,
  lists: string[],
  random: () => number,
): Promise<Ledger> {
  const ledger: Ledger = { items: new Map(lists.map((id) => [id, []])), unknown: [], refreshTokens: [] }
  // Each goes on until a call has no answer: from then on none would.
  const adding = Array.from({ length: writers }, async () => {
    for (;;) {
      const [listId, id] = [lists[Math.floor(random() * lists.length)] ?? '', Bun.randomUUIDv7()]
      const answer = await person.api
        .post(`/shopping-lists/${listId}/items`, { id, name: `Item ${id}` })
        .catch(() => null)
      if (answer === null) return void ledger.unknown.push({ listId, id })
      expect(answer.status).toBe(201)
      ledger.items.get(listId)?.push(id)
    }
  })
  const signingIn = (async () => {
    const { email, password } = person
    for (;;) {
      const answer = await createClient(running.url)
        .post('/auth/login', { email, password })
        .catch(() => null)
      if (answer === null) return
      ledger.refreshTokens.push(answer.body.refresh_token)
    }
  })()
  await until(
    () => ledger.refreshTokens.length > 0 && [...ledger.items.values()].flat().length > 0,
    'the first answers',
  )
  await Bun.sleep(random() * killWithinMs)
  running.signal('SIGKILL')
  await running.exited
  await Promise.all([...adding, signingIn])
  return ledger
}

async function expectKept(
  running: Running,
  owner: Person,
  ledger: Ledger,
  seen: Map<string, { ids: Set<string>; seq: number }>,
): Promise<void> {
  const anyone = createClient(running.url)
  const sessions = await Promise.all(
    ledger.refreshTokens.map((token) => anyone.post('/auth/refresh', { refresh_token: token })),
  )
  expect(sessions.map(({ status }) => status)).toEqual(sessions.map(() => 200))
  const client = createClient(running.url, sessions[0]?.body.access_token)
  for (const [listId, acknowledged] of ledger.items) {
    const known = seen.get(listId)
    if (!known) throw new Error('a list that was not created')
    const detail = await client.get(`/shopping-lists/${listId}`)
    const ids: string[] = detail.body.items.map((item: { id: string }) => item.id)
    const fresh = ids.filter((id) => !known.ids.has(id))
    expect(new Set(ids).size, 'an item is there twice').toBe(ids.length)
    expect(
      [...known.ids, ...acknowledged].filter((id) => !ids.includes(id)),
      'lost',
    ).toEqual([])
    const events = await eventsAfter(known.seq, (since) =>
      client.get(`/shopping-lists/${listId}/events?since=${since}&limit=100`),
    )
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => known.seq + 1 + index))
    expect(known.seq + events.length).toBe(detail.body.seq)
    expect(events.map(({ payload }) => payload.item.id).toSorted()).toEqual(fresh.toSorted())
    seen.set(listId, { ids: new Set(ids), seq: detail.body.seq })
  }
  const retries = await Promise.all(
    ledger.unknown.map(async ({ listId, id }) => {
      const before = seen.get(listId)?.ids.has(id)
      const { status } = await client.post(`/shopping-lists/${listId}/items`, { id, name: `Item ${id}` })
      return status === (before ? 200 : 201)
    }),
  )
  expect(retries, `retries by ${owner.email}`).toEqual(retries.map(() => true))
}

type Events = { seq: number; payload: { item: { id: string } } }[]

async function eventsAfter(
  seq: number,
  // biome-ignore lint/suspicious/noExplicitAny: the client has held the answer against the document.
  page: (since: number) => Promise<{ body: any }>,
): Promise<Events> {
  const events: Events = []
  for (;;) {
    const { body } = await page(events.at(-1)?.seq ?? seq)
    events.push(...body.data)
    if (body.complete || body.data.length === 0) return events
  }
}

/** Mulberry32: small, and the same on every machine. */
function randomFrom(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
