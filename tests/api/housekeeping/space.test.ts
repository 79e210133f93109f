/** Under steady use the embedded database's tables do not grow: the space of expired rows is used again. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { makeList, makeTenant, makeUser, type Tenant } from '../../support/people.ts'
import { startServer, type TestServer } from '../../support/server.ts'
import { roundIn, rowsOf } from './setup.ts'

let server: TestServer
let tenant: Tenant
beforeAll(async () => {
  server = await startServer('embedded')
  tenant = await makeTenant(server)
})
afterAll(() => server.stop())

/** Pages of the table, with its indexes. */
const pages = async (): Promise<number> => {
  const [row] = await rowsOf(
    server,
    'system',
    sql<{ pages: number }>`select (pg_total_relation_size('list_events') / 8192)::int as pages`,
  )
  return row?.pages ?? 0
}

test('events that expire make room for as many new ones', async () => {
  const ann = await makeUser(server, tenant)
  const { id } = await makeList(ann)
  const after: number[] = []
  for (let round = 0; round < 4; round++) {
    await rowsOf(
      server,
      { tenantId: tenant.id },
      sql`insert into list_events (tenant_id, list_id, seq, type, payload, actor_id)
        select ${tenant.id}, ${id}, n, 'item_added', jsonb_build_object('item', repeat('x', 300)), ${ann.id}
        from generate_series(${round * 3000 + 1}::int, ${round * 3000 + 3000}::int) n`,
    )
    after.push(await pages())
    const { removed } = await roundIn(server, 31, { batchSize: 1000 })
    expect(removed.events).toBeGreaterThanOrEqual(2999)
  }
  const [first = 0, ...others] = after
  for (const size of others) expect(size).toBeLessThan(first * 1.3)
})
