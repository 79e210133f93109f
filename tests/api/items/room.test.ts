/** A list holds 4 MiB of its items' text, counted to the byte; what adds none is never refused. */
import { beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { outcome } from '../../support/history.ts'
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

const limit = 4 * 1024 ** 2
/** The longest item: 9,404 bytes in 2,351 characters. */
const longest = {
  name: '𠀀'.repeat(255),
  note: '𠀁'.repeat(2000),
  unit: '𠀂'.repeat(32),
  category: '𠀃'.repeat(64),
}
const longestBytes = 9404
const many = (count: number) => Array.from({ length: count }, () => longest)

describeBackends('the text of a list', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let ben: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'ann' })
    ben = await makeUser(server, tenant, { name: 'ben' })
  })

  const query = <Row>(statement: ReturnType<typeof sql<Row>>) =>
    server.running.deps.db.write({ tenantId: tenant.id }, statement)
  /** The list's counter and what it should be. */
  const counted = async (listId: string) => {
    const [row] = await query(
      sql<{ counter: number; sum: number; current: boolean }>`
        select text_bytes as counter, text_seq = seq as current, (
          select coalesce(sum(octet_length(concat(name, unit, note, category))), 0) from items
          where list_id = l.id and deleted_at is null
        ) as sum from shopping_lists l where id = ${listId}`,
    )
    return row
  }
  const exactly = (bytes: number) => ({ counter: bytes, sum: bytes, current: true })
  const adding = (listId: string, body: unknown) => ann.api.post(`/shopping-lists/${listId}/items`, body)
  const changing = (itemId: string, body: unknown) => ann.api.patch(`/items/${itemId}`, body)

  test('is at most 4 MiB, to the byte; a full list takes what adds none, and more once there is room', async () => {
    const { id } = await makeList(ann)
    for (const count of [100, 100, 100, 100, 46])
      expect((await adding(id, { items: many(count) })).status).toBe(201)
    const left = limit - 446 * longestBytes
    expect(await counted(id)).toEqual(exactly(limit - left))
    expect(outcome(await adding(id, { name: 'x'.repeat(left + 1) }))).toBe('409 list_full')
    expect(outcome(await adding(id, { items: [{ name: 'x' }, { name: 'x'.repeat(left) }] }))).toBe(
      '409 list_full',
    )
    const last = { id: Bun.randomUUIDv7(), name: 'x'.repeat(left) }
    expect((await adding(id, last)).status).toBe(201)
    expect(await counted(id)).toEqual(exactly(limit))

    expect(outcome(await adding(id, { name: 'x' }))).toBe('409 list_full')
    for (const more of [{ name: 'x'.repeat(left + 1) }, { unit: 'l' }, { note: '1' }, { category: 'a' }])
      expect(outcome(await changing(last.id, more))).toBe('409 list_full')
    expect((await adding(id, last)).status).toBe(200)
    for (const change of [
      { name: 'y'.repeat(left) },
      { status: 'purchased' },
      { quantity: 7 },
      { position: 'a0V' },
    ])
      expect((await changing(last.id, change)).status).toBe(200)
    expect((await changing(last.id, { name: 'z'.repeat(left - 1), unit: 'l' })).status).toBe(200)
    expect(await counted(id)).toEqual(exactly(limit))

    await ann.api.delete(`/items/${last.id}`)
    expect((await adding(id, { name: 'ü'.repeat(left / 2) })).status).toBe(201)
    expect(outcome(await adding(id, { name: 'x' }))).toBe('409 list_full')
    expect(await counted(id)).toEqual(exactly(limit))
  })

  test('is counted by every change, and by repeats once', async () => {
    const { id } = await makeList(ann)
    const path = `/shopping-lists/${id}`
    const chosen = {
      id: Bun.randomUUIDv7(),
      name: 'Käse',
      unit: 'kg',
      note: 'alt\nund gut',
      category: 'Kühles',
    }
    const bytes = Buffer.byteLength(Object.values(chosen).slice(1).join(''))
    const key = { headers: { 'Idempotency-Key': Bun.randomUUIDv7() } }
    for (let repeat = 0; repeat < 2; repeat++) {
      await adding(id, chosen)
      await ann.api.post(`${path}/items`, { name: 'Brot' }, key)
      expect(await counted(id)).toEqual(exactly(bytes + 4))
    }
    await adding(id, { items: [chosen, { name: 'neu' }] })
    expect(await counted(id)).toEqual(exactly(bytes + 7))

    await changing(chosen.id, { name: 'K', unit: null, note: 'jung' })
    expect(await counted(id)).toEqual(exactly(12 + 7))
    await join(ann, id, ben)
    await ann.api.patch(path, { name: 'Renamed', description: 'is no item’s text' })
    await changing(chosen.id, { status: 'purchased', position: 'a9' })
    expect(await counted(id)).toEqual(exactly(12 + 7))

    await ann.api.post(`${path}/items/clear-purchased`)
    expect(await counted(id)).toEqual(exactly(7))
    await ann.api.delete(path)
    await ann.api.post(`${path}/restore`)
    const { body } = await ann.api.get(path)
    for (const item of body.items) await ann.api.delete(`/items/${item.id}`)
    expect(await counted(id)).toEqual(exactly(0))
  })

  test('over the limit, as a release that does not count it may leave it, can be shortened and bought', async () => {
    const { id } = await makeList(ann)
    const item = await addItem(ann, id)
    // What that release writes: items, their events and the seq, but no bytes.
    await query(sql`
      with made as (
        insert into items (tenant_id, id, list_id, name, note, position, added_by, updated_by)
        select ${tenant.id}, gen_random_uuid(), ${id}, 'Note ' || n, repeat('x', 2000), 'b' || n, ${ann.id}, ${ann.id}
        from generate_series(1000, 3200) n returning id, position
      ), logged as (
        insert into list_events (tenant_id, list_id, seq, type, payload, actor_id)
        select ${tenant.id}, ${id}, 1 + row_number() over (order by position), 'item_added', '{}', ${ann.id} from made
      )
      update shopping_lists set seq = 2202, item_count = 2202, pending_count = 2202 where id = ${id}`)
    const [long] = await query(
      sql<{ id: string }>`select id from items where list_id = ${id} and note is not null limit 1`,
    )
    const longId = String(long?.id)

    expect(outcome(await adding(id, { name: 'more' }))).toBe('409 list_full')
    expect(outcome(await changing(longId, { unit: 'l' }))).toBe('409 list_full')
    for (const change of [{ status: 'purchased' }, { note: 'y'.repeat(2000) }, { note: 'short' }])
      expect((await changing(longId, change)).status).toBe(200)
    const over = await counted(id)
    expect(over?.counter).toBeGreaterThan(limit)
    expect(over).toEqual(exactly(over?.counter ?? 0))
    expect((await ann.api.delete(`/items/${item.id}`)).status).toBe(204)
    expect(outcome(await adding(id, { name: 'more' }))).toBe('409 list_full')

    await query(sql`update items set status = 'purchased' where list_id = ${id}`)
    await query(sql`update shopping_lists set pending_count = 0 where id = ${id}`)
    expect((await ann.api.post(`/shopping-lists/${id}/items/clear-purchased`)).status).toBe(200)
    expect((await adding(id, { name: 'more' })).status).toBe(201)
    expect(await counted(id)).toEqual(exactly(4))
  })
})
