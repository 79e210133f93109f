/** The pages of list summaries. */
import { beforeAll, describe, expect, test } from 'bun:test'
import { outcome, refusedFields } from '../../support/history.ts'
import {
  addItem,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'

interface Summary {
  id: string
  name: string
  role: string
  item_count: number
  pending_count: number
  member_count: number
  updated_at: string
}

describeBackends('list summaries', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
  })

  const pages = async (person: Person, query: string, each?: () => Promise<unknown>): Promise<Summary[]> => {
    const found: Summary[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const next: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const { body } = await person.api.get(`/shopping-lists?${query}${next}`)
      found.push(...body.data)
      cursor = body.next_cursor
      await each?.()
    }
    return found
  }
  const namesOf = (lists: Summary[]): string[] => lists.map((list) => list.name)

  test('the last changed list is first; changes of items, members and the name count', async () => {
    const ann = await makeUser(server, tenant)
    const [a, b, c] = [await makeList(ann, 'a'), await makeList(ann, 'b'), await makeList(ann, 'c')]
    const order = async () => namesOf(await pages(ann, 'limit=100'))
    expect(await order()).toEqual(['c', 'b', 'a'])
    const item = await addItem(ann, a.id)
    expect(await order()).toEqual(['a', 'c', 'b'])
    await ann.api.patch(`/shopping-lists/${b.id}`, { description: 'x' })
    expect(await order()).toEqual(['b', 'a', 'c'])
    await join(ann, c.id, tenant.admin)
    expect(await order()).toEqual(['c', 'b', 'a'])
    await ann.api.patch(`/items/${item.id}`, { note: 'x' })
    expect(await order()).toEqual(['a', 'c', 'b'])
    await ann.api.delete(`/shopping-lists/${b.id}/members/${ann.id}`)
    await ann.api.patch(`/shopping-lists/${b.id}`, { description: 'x' })
    expect(await order()).toEqual(['a', 'c', 'b'])
  })

  test('the counts track items and members', async () => {
    const [ann, ben] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    const { id } = await makeList(ann)
    const counts = async () => {
      const [summary] = await pages(ann, 'limit=1')
      return [summary?.item_count, summary?.pending_count, summary?.member_count]
    }
    expect(await counts()).toEqual([0, 0, 1])
    const added = await ann.api.post(`/shopping-lists/${id}/items`, {
      items: [{ name: 'a' }, { name: 'b' }, { name: 'c' }, { name: 'd' }],
    })
    const [first, second, third] = added.body.data
    expect(await counts()).toEqual([4, 4, 1])
    for (const item of [first, second]) await ann.api.patch(`/items/${item.id}`, { status: 'purchased' })
    await ann.api.patch(`/items/${second.id}`, { status: 'purchased' })
    expect(await counts()).toEqual([4, 2, 1])
    await ann.api.patch(`/items/${first.id}`, { status: 'pending' })
    await ann.api.delete(`/items/${third.id}`)
    expect(await counts()).toEqual([3, 2, 1])
    await join(ann, id, ben)
    await ann.api.post(`/shopping-lists/${id}/items/clear-purchased`)
    expect(await counts()).toEqual([2, 2, 2])
    await ben.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    await ann.api.delete(`/items/${first.id}`)
    expect(await counts()).toEqual([1, 1, 1])
  })

  test("a summary is the list with the reader's role; readers see only their own lists", async () => {
    const [ann, ben] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    const shared = await makeList(ann, 'shared')
    await makeList(ann, 'private')
    await join(ann, shared.id, ben, 'viewer')
    const [summary, ...more] = await pages(ben, 'limit=100')
    expect(more).toEqual([])
    const { members, items, position, ...list } = (await ben.api.get(`/shopping-lists/${shared.id}`)).body
    expect<unknown>(summary).toEqual({ ...list, item_count: 0, pending_count: 0, member_count: 2 })
    expect([members.length, items.length, summary?.role]).toEqual([2, 0, 'viewer'])
  })

  describe('scope=all', () => {
    test('shows an admin every list of the tenant, with tenant_admin where they are no member', async () => {
      const own = await makeTenant(server)
      const ann = await makeUser(server, own)
      const theirs = await makeList(ann, 'theirs')
      await makeList(own.admin, 'mine')
      const joined = await makeList(ann, 'joined')
      await join(ann, joined.id, own.admin, 'viewer')
      expect(namesOf(await pages(own.admin, 'limit=100'))).toEqual(['joined', 'mine'])
      const all = await pages(own.admin, 'limit=100&scope=all')
      expect(all.map(({ name, role }) => [name, role])).toEqual([
        ['joined', 'viewer'],
        ['mine', 'owner'],
        ['theirs', 'tenant_admin'],
      ])
      expect(all.find(({ id }) => id === theirs.id)).toMatchObject({ member_count: 1 })
    })

    test('is forbidden to members', async () => {
      const ann = await makeUser(server, tenant)
      expect(outcome(await ann.api.get('/shopping-lists?scope=all'))).toBe('403 forbidden')
      const odd = await ann.api.get('/shopping-lists?scope=some')
      expect([outcome(odd), refusedFields(odd)]).toEqual(['422 invalid', ['scope']])
    })
  })

  test('pages show every list once, even while others are created', async () => {
    const ann = await makeUser(server, tenant)
    const made = []
    for (let index = 0; index < 7; index++) made.push((await makeList(ann, `list ${index}`)).id)
    const seen = await pages(ann, 'limit=2', () => makeList(ann, 'meanwhile'))
    expect(seen.filter(({ name }) => name !== 'meanwhile').map(({ id }) => id)).toEqual(made.toReversed())
    expect(new Set(seen.map(({ id }) => id)).size).toBe(seen.length)
  })

  test('pages show every list once, even while lists on earlier or later pages change', async () => {
    const ann = await makeUser(server, tenant)
    const made: string[] = []
    for (let index = 0; index < 7; index++) made.push((await makeList(ann, `list ${index}`)).id)
    // Changed before the first page too, so that a list's place comes from an event and not its creation.
    for (const id of [made[2], made[0]]) await addItem(ann, id ?? '')
    const order = [made[0], made[2], made[6], made[5], made[4], made[3], made[1]]
    const seen = await pages(ann, 'limit=2', async () => {
      for (const id of [made[0], made[1], made[3]]) await addItem(ann, id ?? '')
    })
    expect<unknown>(seen.map(({ id }) => id)).toEqual(order)
  })

  test("a tampered cursor, another reader's or another query's is refused", async () => {
    const [ann, ben] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    for (const person of [ann, ben]) for (const name of ['a', 'b']) await makeList(person, name)
    const { next_cursor } = (await ann.api.get('/shopping-lists?limit=1')).body
    const cursorFault = async (person: Person, query: string) => {
      const answer = await person.api.get(`/shopping-lists?${query}`)
      return [outcome(answer), ...refusedFields(answer)].join(' ')
    }
    const cursor = encodeURIComponent(next_cursor)
    const fault = '422 invalid cursor'
    expect(await cursorFault(ann, `cursor=${cursor}x`)).toBe(fault)
    expect(await cursorFault(ann, `cursor=x${cursor}`)).toBe(fault)
    expect(await cursorFault(ann, 'cursor=')).toBe(fault)
    expect(await cursorFault(ben, `cursor=${cursor}`)).toBe(fault)
    expect(await cursorFault(ann, `cursor=${cursor}&deleted=true`)).toBe(fault)
    expect(await cursorFault(ann, `cursor=${cursor}`)).toBe('200')
    for (const limit of ['0', '101', '-1', '1.5', 'ten', ''])
      expect(await cursorFault(ann, `limit=${limit}`)).toBe('422 invalid limit')
  })
})
