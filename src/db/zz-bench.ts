import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { startPostgres } from '../../tests/support/postgres.ts'
import { createPostgresDatabase } from './database-postgres.ts'

const server = await startPostgres()
try {
  const admin = postgres(server.url, { max: 1, onnotice: () => {} })
  for (const f of ['0000_initial', '0001_tenant_isolation'])
    for (const s of (await Bun.file(`drizzle/${f}.sql`).text()).split('--> statement-breakpoint'))
      await admin.unsafe(s)
  const t = Bun.randomUUIDv7(),
    u = Bun.randomUUIDv7()
  await admin`insert into tenants(id,name,slug) values (${t},'t','t')`
  await admin`insert into users(tenant_id,id,email,full_name,role,password_hash) values (${t},${u},'a@b','A','member','x')`
  const lists: string[] = []
  for (let i = 0; i < 500; i++) {
    const l = Bun.randomUUIDv7()
    lists.push(l)
    await admin`insert into shopping_lists(tenant_id,id,name,owner_id,created_by) values (${t},${l},'l',${u},${u})`
  }
  const db = createPostgresDatabase({
    url: server.url,
    role: 'minimart_app',
    poolSize: 8,
    deadlineMs: 10000,
    connectTimeoutSeconds: 5,
  })
  const read = (k: number) =>
    db.read(
      { tenantId: t },
      sql`select id, name, seq from shopping_lists where tenant_id = ${t} and id = ${lists[k % 500]}`,
    )
  const write = (k: number) =>
    db.write(
      { tenantId: t },
      sql`with l as (update shopping_lists set seq = seq + 1 where tenant_id = ${t} and id = ${lists[k % 500]} returning tenant_id, id, seq),
 i as (insert into items(tenant_id,id,list_id,name,position,added_by,updated_by) select tenant_id, ${Bun.randomUUIDv7()}::uuid, id, ${'milk'}, 'a0', ${u}::uuid, ${u}::uuid from l returning *),
 e as (insert into list_events(tenant_id,list_id,seq,type,payload,actor_id) select l.tenant_id,l.id,l.seq,'item_added',to_jsonb(i), ${u}::uuid from l,i)
 select l.seq, i.id from l,i`,
    )
  const bench = async (name: string, f: (k: number) => Promise<unknown[]>, total: number) => {
    for (let i = 0; i < 300; i++) await f(i)
    let next = 0
    const s = performance.now()
    const lat: number[] = []
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        while (next < total) {
          const k = next++
          const q = performance.now()
          const r = await f(k)
          if (r.length !== 1) throw new Error('rows')
          lat.push(performance.now() - q)
        }
      }),
    )
    const dt = performance.now() - s
    lat.sort((a, b) => a - b)
    console.log(
      name,
      Math.round((total / dt) * 1000),
      '/s p50',
      lat[total >> 1]?.toFixed(2),
      'p99',
      lat[Math.floor(total * 0.99)]?.toFixed(2),
    )
  }
  for (let i = 0; i < 2; i++) {
    await bench('read', read, 30000)
    await bench('write', write, 15000)
  }
  await bench(
    'tx',
    (k) =>
      db.transaction({ tenantId: t }, async (q) =>
        q(sql`select id from shopping_lists where id = ${lists[k % 500]} for update`),
      ),
    5000,
  )
  console.log(db.stats())
  await db.close()
  await admin.end()
} finally {
  await server.end()
}
process.exit(0)
