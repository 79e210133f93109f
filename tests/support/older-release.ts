/** A release from before migration 0004: one role for all databases of a server, one space of keys in a Redis. */
import postgres from 'postgres'
import { createClient } from 'redis'
import { migrationChecksum } from '../../src/db/migrations/apply.ts'
import { migrations } from '../../src/db/migrations/migrations.ts'
import { firstWithoutIt } from '../../src/db/migrations/shared-role.ts'
import type { OpenStore } from '../../src/store/open.ts'
import { scripts } from '../../src/store/redis-scripts.ts'

/** Migrates an empty database as that release did. The URL's user must be allowed to create roles. */
export async function migrateAsBefore(url: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    await client`create table schema_migrations (version integer primary key, name text not null,
      checksum text not null, applied_at timestamptz(3) not null default clock_timestamp())`
    for (const migration of migrations.slice(0, firstWithoutIt))
      await client.begin(async (tx) => {
        await tx.unsafe(migration.up)
        await tx`insert into schema_migrations (version, name, checksum)
          values (${migration.version}, ${migration.name}, ${migrationChecksum(migration)})`
      })
    await client`grant select on schema_migrations to minimart_app`
  } finally {
    await client.end({ timeout: 2 })
  }
}

/** A session as that release opens them to serve. */
export const serveAsBefore = (url: string): postgres.Sql =>
  postgres(url, {
    max: 1,
    onnotice: () => undefined,
    connection: { application_name: 'minimart', role: 'minimart_app' },
  })

/** Its store in Redis, with the same commands on keys that name no installation. */
export async function olderStore(url: string): Promise<OpenStore> {
  const client = createClient({ url, keyPrefix: 'minimart:', scripts })
  await client.connect()
  const toMs = (seconds: number): number => Math.ceil(seconds * 1000)
  return {
    kind: 'redis',
    sharedBuckets: null,
    reconnects: () => 0,
    get: (key) => client.get(key),
    set: async (key, value, ttlSeconds) =>
      void (await client.set(key, value, { expiration: { type: 'PX', value: toMs(ttlSeconds) } })),
    delete: async (key) => (await client.del(key)) === 1,
    compareAndSet: async (key, expected, next, ttlSeconds) =>
      (await client.compareAndSet(key, expected, next, toMs(ttlSeconds))).done,
    increment: (key, ttlSeconds) => client.incrementWithTtl(key, toMs(ttlSeconds)),
    ping: async () => void (await client.ping()),
    close: async () => client.destroy(),
  }
}
