/** Opens the embedded database in the given folder and writes until killed, printing a line per acknowledged write. */
import { sql } from 'drizzle-orm'
import { openDatabase } from '../../../src/db/open.ts'
import { optionsFor } from '../setup.ts'

const db = await openDatabase(optionsFor(null, process.argv[2]))
for (;;) {
  const id = Bun.randomUUIDv7()
  await db.write('system', sql`insert into tenants (id, name, slug) values (${id}, 'child', ${id})`)
  process.stdout.write('written\n')
}
