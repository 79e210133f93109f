/** Concurrent changes, on a real PostgreSQL behind two instances. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Answer, createClient } from '../../support/client.ts'
import { eventsOf, outcome, typesOf } from '../../support/history.ts'
import {
  addItem,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { describeFull, sharedServer, startInstance, type TestServer } from '../../support/server.ts'

describeFull('concurrent requests', () => {
  let server: TestServer
  let second: TestServer
  let tenant: Tenant
  let owner: Person
  let guest: Person

  beforeAll(async () => {
    server = await sharedServer('full')
    second = await startInstance(server)
    tenant = await makeTenant(server)
    owner = await makeUser(server, tenant, { name: 'owner' })
    guest = await makeUser(server, tenant, { name: 'guest' })
  })
  afterAll(() => second.stop())

  /** The same person's calls, alternating between both instances. */
  const through = (person: Person, turn: number) =>
    createClient(turn % 2 === 0 ? server.url : second.url, person.accessToken)
  const times = <T>(count: number, act: (turn: number) => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: count }, (_, turn) => act(turn)))
  const tally = (answers: Answer[]): Record<string, number> =>
    Object.fromEntries([...Map.groupBy(answers, outcome)].map(([name, same]) => [name, same.length]))

  test('twenty people adding items make events 1 to 20 and twenty positions', async () => {
    const people = await times(20, () => makeUser(server, tenant))
    const { id } = await makeList(owner)
    for (const person of people) await join(owner, id, person)
    const answers = await times(20, (turn) =>
      through(people[turn] ?? owner, turn).post(`/shopping-lists/${id}/items`, { name: `${turn}` }),
    )
    expect(tally(answers)).toEqual({ '201': 20 })
    const added = await eventsOf(owner, id, 20)
    expect(added.map((event) => event.payload.item)).toHaveLength(20)
    for (const answer of answers) expect(added.map((event) => event.payload.item)).toContainEqual(answer.body)
    const { items, seq } = (await owner.api.get(`/shopping-lists/${id}`)).body
    expect([seq, new Set(items.map((item: { position: string }) => item.position)).size]).toEqual([40, 20])
    // Items are in the order in which they were added, by their events' seq.
    expect(items.map((item: { id: string }) => item.id)).toEqual(added.map((event) => event.payload.item.id))
  })

  test('one request sent ten times adds one item', async () => {
    const { id } = await makeList(owner)
    const body = { id: Bun.randomUUIDv7(), name: 'Once' }
    const answers = await times(10, (turn) => through(owner, turn).post(`/shopping-lists/${id}/items`, body))
    expect(tally(answers)).toEqual({ '201': 1, '200': 9 })
    for (const answer of answers) expect(answer.body).toEqual(answers[0]?.body)
    expect(await eventsOf(owner, id)).toHaveLength(1)
  })

  test('one id sent to two lists lands on one of them', async () => {
    const lists = [await makeList(owner), await makeList(owner)]
    for (let round = 0; round < 10; round++) {
      const body = { id: Bun.randomUUIDv7(), name: 'Where' }
      const answers = await times(2, (turn) =>
        through(owner, turn).post(`/shopping-lists/${lists[turn]?.id}/items`, body),
      )
      expect(tally(answers)).toEqual({ '201': 1, '409 id_conflict': 1 })
    }
  })

  test('one new list sent ten times is created once', async () => {
    const body = { id: Bun.randomUUIDv7(), name: 'Once' }
    const answers = await times(10, (turn) => through(owner, turn).post('/shopping-lists', body))
    expect(tally(answers)).toEqual({ '201': 1, '200': 9 })
  })

  test('a nearly full list takes as many items as fit and never a 5,001st', async () => {
    const { id } = await makeList(owner)
    const items = Array.from({ length: 200 }, () => ({ name: 'x' }))
    for (let round = 0; round < 24; round++) await owner.api.post(`/shopping-lists/${id}/items`, { items })
    await owner.api.post(`/shopping-lists/${id}/items`, { items: items.slice(0, 190) })
    const answers = await times(16, (turn) =>
      through(owner, turn).post(
        `/shopping-lists/${id}/items`,
        turn < 4 ? { items: items.slice(0, 4) } : { name: 'y' },
      ),
    )
    const made = answers.filter(({ status }) => status === 201)
    const count = made.reduce((sum, { body }) => sum + (body.data?.length ?? 1), 0)
    expect(answers.filter(({ status }) => status !== 201).map(outcome)).toEqual(
      Array.from({ length: 16 - made.length }, () => '409 list_full'),
    )
    expect(count).toBeGreaterThanOrEqual(7)
    const [summary] = (await owner.api.get('/shopping-lists?limit=1')).body.data
    expect(summary).toMatchObject({
      id,
      item_count: 4990 + count,
      pending_count: 4990 + count,
      seq: 4990 + count,
    })
    expect(count).toBeLessThanOrEqual(10)
  })

  test('one invitation sent ten times is accepted once', async () => {
    const { id } = await makeList(owner)
    const { token } = (await owner.api.post(`/shopping-lists/${id}/invite`, { email: guest.email })).body
    const answers = await times(10, (turn) => through(guest, turn).post('/invitations/accept', { token }))
    expect(tally(answers)).toEqual({ '200': 1, '409 invitation_spent': 9 })
    expect(typesOf(await eventsOf(owner, id))).toEqual(['member_joined'])
  })

  test('of accepting and rejecting, one takes effect, and membership follows it', async () => {
    for (let round = 0; round < 10; round++) {
      const { id } = await makeList(owner)
      const { token } = (await owner.api.post(`/shopping-lists/${id}/invite`, { email: guest.email })).body
      const [accepted, rejected] = await Promise.all([
        through(guest, round).post('/invitations/accept', { token }),
        through(guest, round + 1).post('/invitations/reject', { token }),
      ])
      const outcomes = [outcome(accepted), outcome(rejected)]
      expect([
        ['200', '409 invitation_spent'],
        ['409 invitation_spent', '204'],
      ]).toContainEqual(outcomes)
      expect(await eventsOf(owner, id)).toHaveLength(accepted.status === 200 ? 1 : 0)
    }
  })

  test('two transfers of ownership leave exactly one owner, whom the list names', async () => {
    const [one, two] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    for (let round = 0; round < 10; round++) {
      const { id } = await makeList(owner)
      for (const person of [one, two]) await join(owner, id, person)
      await Promise.all([
        through(owner, round).patch(`/shopping-lists/${id}/members/${one.id}`, { role: 'owner' }),
        through(round % 2 ? tenant.admin : owner, round + 1).patch(
          `/shopping-lists/${id}/members/${two.id}`,
          { role: 'owner' },
        ),
      ])
      const list = (await tenant.admin.api.get(`/shopping-lists/${id}`)).body
      const owners = list.members.filter((member: { role: string }) => member.role === 'owner')
      expect(owners.map((member: { user_id: string }) => member.user_id)).toEqual([list.owner_id])
      const handed = typesOf(await eventsOf(tenant.admin, id, 2))
      const each = ['member_updated', 'member_updated', 'list_updated']
      expect(handed).toEqual(handed.length > 3 ? [...each, ...each] : each)
      expect(list.version).toBe(1 + handed.length / 3)
    }
  })

  test('a transfer while the owner leaves never leaves the list without an owner', async () => {
    for (let round = 0; round < 10; round++) {
      const { id } = await makeList(owner)
      await join(owner, id, guest)
      await Promise.all([
        through(owner, round).patch(`/shopping-lists/${id}/members/${guest.id}`, { role: 'owner' }),
        through(guest, round + 1).delete(`/shopping-lists/${id}/members/${guest.id}`),
      ])
      const { members, owner_id } = (await tenant.admin.api.get(`/shopping-lists/${id}`)).body
      expect(members).toContainEqual(expect.objectContaining({ user_id: owner_id, role: 'owner' }))
    }
  })

  test.each(['list_deleted', 'member_removed'])(
    'every acknowledged item has its event before %s, and none is acknowledged after it',
    async (ending) => {
      const { id } = await makeList(owner)
      await join(owner, id, guest)
      const end =
        ending === 'list_deleted' ? `/shopping-lists/${id}` : `/shopping-lists/${id}/members/${guest.id}`
      const add = (turn: number) =>
        through(guest, turn).post(`/shopping-lists/${id}/items`, { name: `${turn}` })
      const first = await times(3, add)
      const [answers, ended] = await Promise.all([times(30, add), through(owner, 1).delete(end)])
      expect(ended.status).toBe(204)
      expect(new Set(answers.map(outcome)).isSubsetOf(new Set(['201', '404 not_found']))).toBe(true)
      if (ending === 'list_deleted') await owner.api.post(`/shopping-lists/${id}/restore`)
      const events = await eventsOf(owner, id)
      const endSeq = events.find((event) => event.type === ending)?.seq ?? 0
      for (const { status, body } of [...first, ...answers].filter((answer) => answer.status === 201)) {
        const event = events.find(({ payload }) => payload.item?.id === body.id)
        expect([status, event?.type, (event?.seq ?? Number.NaN) < endSeq]).toEqual([201, 'item_added', true])
      }
      expect(events.filter(({ type, seq }) => type === 'item_added' && seq > endSeq)).toEqual([])
    },
  )

  test("an item has as many versions as events, and no writer's field is lost", async () => {
    const { id } = await makeList(owner)
    await join(owner, id, guest)
    const item = await addItem(owner, id)
    const fields = ['name', 'note', 'unit', 'category']
    const answers = await times(24, (turn) =>
      through(turn % 3 ? owner : guest, turn).patch(`/items/${item.id}`, {
        [fields[turn % 4] ?? '']: `${turn}`,
      }),
    )
    expect(tally(answers)).toEqual({ '200': 24 })
    const events = await eventsOf(owner, id, 2)
    expect(events.map((event) => event.payload.item.version)).toEqual(
      Array.from({ length: 24 }, (_, n) => n + 2),
    )
    const [last] = (await owner.api.get(`/shopping-lists/${id}/items`)).body.data
    expect(last).toEqual(events.at(-1)?.payload.item)
    for (const field of fields) {
      const latest = events.findLast((event) => event.payload.changed[0] === field)
      expect(last[field]).toBe(latest?.payload.item[field])
    }
  })

  test('buying one item from everywhere is one event; one If-Match wins the race', async () => {
    const { id } = await makeList(owner)
    const item = await addItem(owner, id)
    const buy = (turn: number) => through(owner, turn).patch(`/items/${item.id}`, { status: 'purchased' })
    expect(tally(await times(10, buy))).toEqual({ '200': 10 })
    expect(await eventsOf(owner, id)).toHaveLength(2)
    const guarded = await times(10, (turn) =>
      through(owner, turn).patch(
        `/items/${item.id}`,
        { note: `${turn}` },
        { headers: { 'if-match': '"2"' } },
      ),
    )
    expect(tally(guarded)).toEqual({ '200': 1, '412 version_mismatch': 9 })
    expect(
      (await times(5, () => owner.api.post(`/shopping-lists/${id}/items/clear-purchased`)))
        .map(({ body }) => body.deleted)
        .sort(),
    ).toEqual([0, 0, 0, 0, 1])
  })
})
