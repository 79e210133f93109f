import { sql } from 'drizzle-orm'
import { startPostgres } from '../../tests/support/postgres.ts'
import { createLogger } from '../log.ts'
import { openDatabase, withMigrationConnection } from './client.ts'
import { migrateDown } from './migrate.ts'
import { migrationState, migrationStatus } from './migration-state.ts'

const log = createLogger({ level: 'debug', format: 'json', write: (l) => process.stdout.write(l) })
const server = await startPostgres()
try {
  for (const databaseUrl of [server.url, null]) {
    const o = { databaseUrl, dataDir: process.argv[2] ?? '', log, autoMigrate: true }
    const db = await openDatabase(o)
    console.log(
      await migrationState(db),
      await db.read(
        'system',
        sql`select current_user, current_setting('default_transaction_read_only'), (select count(*) from tenants) as n, array[1] as a`,
      ),
    )
    console.log(
      await db.write(
        'system',
        sql`insert into tenants(id,name,slug) values (${Bun.randomUUIDv7()}, 'x', 'x') returning id`,
      ),
    )
    console.log(await db.transaction('system', async (q) => q(sql`select count(*) from tenants`)))
    for (const f of [
      () =>
        db.write(
          'system',
          sql`insert into tenants(id,name,slug) values (${Bun.randomUUIDv7()}, 'x', 'x') returning id`,
        ),
      () =>
        db.read('system', sql`insert into tenants(id,name,slug) values (${Bun.randomUUIDv7()}, 'x', 'xyx')`),
      () => db.read('system', sql`select ${'nosuch'}::uuid`),
      () => db.read('system', sql`select nosuch`),
    ])
      await f().then(
        () => console.log('BAD'),
        (e) => console.log(e.name, e.message, e.constraint, e.sqlState),
      )
    console.log(db.stats())
    await db.close()
    await withMigrationConnection(o, async (c) => {
      console.log(await migrateDown(c, o, 5), await migrationStatus(c))
    })
    await (await openDatabase(o)).close()
  }
} finally {
  await server.end()
}
