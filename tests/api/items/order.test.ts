/** List order: fractional-index keys compared by bytes, then by id; pages follow it. */
import { beforeAll, expect, test } from 'bun:test'
import { generateKeyBetween, generateNKeysBetween } from 'fractional-indexing'
import { eventsOf, outcome, refusedFields } from '../../support/history.ts'
import { addItem, makeList, makeTenant, makeUser, type Person } from '../../support/people.ts'
import { describeBackends, sharedServer } from '../../support/server.ts'

interface Item {
  id: string
  name: string
  position: string
  version: number
  status: string
}

describeBackends('the order of items', (backend) => {
  let ann: Person

  beforeAll(async () => {
    const server = await sharedServer(backend)
    ann = await makeUser(server, await makeTenant(server))
  })

  const itemsOf = async (listId: string): Promise<Item[]> =>
    (await ann.api.get(`/shopping-lists/${listId}`)).body.items
  const namesOf = async (listId: string) => (await itemsOf(listId)).map((item) => item.name)
  const bulk = async (listId: string, items: object[]): Promise<Item[]> => {
    const answer = await ann.api.post(`/shopping-lists/${listId}/items`, { items })
    expect(answer.status).toBe(201)
    return answer.body.data
  }

  test('new items go last, with the keys that the fractional-indexing library makes', async () => {
    const { id } = await makeList(ann)
    const first = await addItem(ann, id)
    const many = await bulk(
      id,
      Array.from({ length: 130 }, (_, index) => ({ name: `${index}` })),
    )
    const positions = [first, ...many].map((item) => item.position)
    expect(positions).toEqual(generateNKeysBetween(null, null, 131))
    expect((await itemsOf(id)).map((item) => item.position)).toEqual(positions)
    expect((await itemsOf(id)).slice(1).map((item) => item.name)).toEqual(many.map((item) => item.name))
  })

  test('after any last key, the next one is the library’s', async () => {
    const largest = `z${'z'.repeat(26)}`
    const lasts = [
      'Zz',
      'ZyV',
      'Xzzz',
      'az',
      'azzV',
      'bzz',
      'yzzzz'.padEnd(26, 'z'),
      `${'A'.padEnd(27, '0')}V`,
    ]
    for (const position of [...lasts, 'a0V', largest, `${largest}V`, `${largest}zy`]) {
      const { id } = await makeList(ann)
      await addItem(ann, id, { name: 'last', position })
      let expected = position
      for (let step = 0; step < 3; step++) {
        expected = generateKeyBetween(expected, null)
        expect([position, (await addItem(ann, id)).position]).toEqual([position, expected])
      }
    }
  })

  test('a new item goes last, also after items placed by the same request and after a deletion of the last', async () => {
    const { id } = await makeList(ann)
    await bulk(id, [{ name: 'last' }, { name: 'placed', position: 'b0V' }, { name: 'very last' }])
    expect(await namesOf(id)).toEqual(['placed', 'last', 'very last'])
    const items = await itemsOf(id)
    await ann.api.delete(`/items/${items[2]?.id}`)
    await addItem(ann, id, { name: 'new' })
    expect(await namesOf(id)).toEqual(['placed', 'last', 'new'])
  })

  test('a move between two items changes only the moved item', async () => {
    const { id } = await makeList(ann)
    const [a, b, c] = await bulk(id, [{ name: 'a' }, { name: 'b' }, { name: 'c' }])
    const before = await itemsOf(id)
    const position = generateKeyBetween(a?.position ?? null, b?.position ?? null)
    const moved = await ann.api.patch(`/items/${c?.id}`, { position })
    expect(moved.body).toMatchObject({ position, version: 2 })
    expect(await namesOf(id)).toEqual(['a', 'c', 'b'])
    const after = await itemsOf(id)
    expect(after.filter((item) => item.id !== c?.id)).toEqual(before.filter((item) => item.id !== c?.id))
    const events = await eventsOf(ann, id, 3)
    expect(events.map(({ type, payload }) => [type, payload.changed])).toEqual([
      ['item_updated', ['position']],
    ])
    await ann.api.patch(`/items/${b?.id}`, { position: generateKeyBetween(null, a?.position ?? null) })
    expect(await namesOf(id)).toEqual(['b', 'a', 'c'])
  })

  test('items are ordered by the bytes of their keys, then by id', async () => {
    const { id } = await makeList(ann)
    for (const position of ['a1', 'aV', 'Zz', 'a0', 'av', 'b00', 'a0V', 'ZV'])
      await addItem(ann, id, { name: position, position })
    expect(await namesOf(id)).toEqual(['ZV', 'Zz', 'a0', 'a0V', 'a1', 'aV', 'av', 'b00'])
    const twins = Array.from({ length: 5 }, () => Bun.randomUUIDv7())
    for (const twin of twins.toReversed()) await addItem(ann, id, { name: twin, position: 'a2', id: twin })
    expect((await namesOf(id)).slice(5, 10)).toEqual(twins)
  })

  test('a key that the library cannot make is not a valid position', async () => {
    const { id } = await makeList(ann)
    const item = await addItem(ann, id)
    const smallest = 'A'.padEnd(27, '0')
    for (const position of [
      '',
      'a',
      '0',
      'a00',
      'b0',
      'a0 V',
      'a-',
      'ä0',
      '!0',
      smallest,
      `a0${'V'.repeat(254)}`,
      1,
      null,
    ]) {
      const added = await ann.api.post(`/shopping-lists/${id}/items`, { name: 'x', position })
      expect([position, outcome(added), refusedFields(added)]).toEqual([
        position,
        '422 invalid',
        ['position'],
      ])
      expect(refusedFields(await ann.api.patch(`/items/${item.id}`, { position }))).toEqual(['position'])
    }
  })

  const pages = async (listId: string, query: string, each?: () => Promise<unknown>): Promise<Item[]> => {
    const found: Item[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const next: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`
      const { body } = await ann.api.get(`/shopping-lists/${listId}/items?${query}${next}`)
      found.push(...body.data)
      cursor = body.next_cursor
      await each?.()
    }
    return found
  }

  test('pages follow the list order, all or by status, without duplicates or gaps while items are added', async () => {
    const { id } = await makeList(ann)
    const added = await bulk(
      id,
      Array.from({ length: 9 }, (_, index) => ({ name: `${index}` })),
    )
    for (const item of added.filter((_, index) => index % 3 === 0))
      await ann.api.patch(`/items/${item.id}`, { status: 'purchased' })
    await ann.api.patch(`/items/${added[8]?.id}`, { position: 'Zz' })
    const names = async (query: string) => (await pages(id, query)).map((item) => item.name).join('')
    expect(await names('limit=2')).toBe('801234567')
    expect(await names('limit=2&status=pending')).toBe('812457')
    expect(await names('limit=2&status=purchased')).toBe('036')
    expect(await names('limit=1&status=purchased')).toBe('036')
    let extra = 0
    const seen = await pages(id, 'limit=3', () =>
      extra++ > 3 ? Promise.resolve() : addItem(ann, id, { name: 'x', position: extra % 2 ? 'ZV' : 'a1V' }),
    )
    const old = seen.filter((item) => item.name !== 'x')
    expect(old.map((item) => item.name).join('')).toBe('801234567')
    expect(new Set(seen.map((item) => item.id)).size).toBe(seen.length)
    const odd = await ann.api.get(`/shopping-lists/${id}/items?status=bought`)
    expect([outcome(odd), refusedFields(odd)]).toEqual(['422 invalid', ['status']])
  })

  test("a tampered cursor, another list's or another status's is refused", async () => {
    const [one, two] = [await makeList(ann), await makeList(ann)]
    for (const { id } of [one, two]) await bulk(id, [{ name: 'a' }, { name: 'b' }])
    const { next_cursor } = (await ann.api.get(`/shopping-lists/${one.id}/items?limit=1`)).body
    const cursor = encodeURIComponent(next_cursor)
    for (const path of [
      `${one.id}/items?cursor=${cursor}x`,
      `${two.id}/items?cursor=${cursor}`,
      `${one.id}/items?status=pending&cursor=${cursor}`,
    ]) {
      const answer = await ann.api.get(`/shopping-lists/${path}`)
      expect([outcome(answer), refusedFields(answer)]).toEqual(['422 invalid', ['cursor']])
    }
  })
})
