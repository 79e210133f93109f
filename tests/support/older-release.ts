/** What a release from before migration 0004 leaves behind: its schema, with the role that all databases shared. */
import postgres from 'postgres'
import { migrationChecksum } from '../../src/db/migrations/apply.ts'
import { migrations } from '../../src/db/migrations/migrations.ts'

/** Migrates an empty database as that release did. The URL's user must be allowed to create roles. */
export async function migrateAsBefore(url: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => undefined })
  try {
    await client`create table schema_migrations (version integer primary key, name text not null,
      checksum text not null, applied_at timestamptz(3) not null default clock_timestamp())`
    for (const migration of migrations.slice(0, 4))
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
