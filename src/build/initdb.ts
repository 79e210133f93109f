/**
 * Creates an embedded database and packs it: `bun src/build/initdb.ts FILE`. For reproducible builds, clock and random
 * numbers are constant, hence a process of its own. They would determine checkpoint dates, the system identifier for
 * replication and a nonce for password logins over the network; an embedded database uses neither of the latter.
 */
import nodeCrypto from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { packDatabase } from '../db/embedded/prepared-database.ts'

const [file = ''] = process.argv.slice(2)
const year2000 = Date.UTC(2000, 0, 1)
const fill = <T extends NodeJS.ArrayBufferView | null>(view: T): T => {
  if (view) new Uint8Array(view.buffer, view.byteOffset, view.byteLength).fill(1)
  return view
}
Object.assign(Date, { now: () => year2000 })
Object.assign(performance, { now: () => 0 })
Object.assign(crypto, { getRandomValues: fill })
Object.assign(nodeCrypto, { randomFillSync: fill })

// Imported only now, since it may capture these functions.
const { openPglite } = await import('../db/embedded/pglite.ts')
const folder = await mkdtemp(join(tmpdir(), 'minimart-initdb-'))
try {
  const database = join(folder, 'database')
  const pglite = await openPglite(database)
  // Drops the WAL of initdb, a third of the size.
  await pglite.exec('set wal_recycle = off; select pg_switch_wal(); checkpoint')
  await pglite.close()
  const packed = packDatabase(database)
  await Bun.write(file, await Bun.zstdCompress(packed, { level: 19 }))
} finally {
  await rm(folder, { recursive: true, force: true })
}
