/** Migrations down and up over data in every table and column lose nothing that the lower version can hold. */

import { describe, expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { MigrationConnection } from '../../../src/db/database.ts'
import { migrateDown, migrateUp } from '../../../src/db/migrations/migrate.ts'
import { migrations } from '../../../src/db/migrations/migrations.ts'
import { withMigrationConnection } from '../../../src/db/open.ts'
import { fillDataDir } from '../../support/data-dir.ts'
import { describePostgres, testPostgres } from '../../support/postgres.ts'
import { optionsFor, silentLog } from '../setup.ts'

type Ask = MigrationConnection['query']
/** Column names, and rows as parsed JSON, by table. */
type Snapshot = Map<string, { columns: string[]; rows: Record<string, unknown>[] }>

const own = { log: silentLog }
const [tenant, user, list, item, session, entry, mail] = Array.from(
  { length: 7 },
  (_, index) => `01900000-0000-7000-8000-00000000000${index + 1}`,
)
const platform = '00000000-0000-7000-8000-000000000000'
const at = '2026-01-02T03:04:05.678Z'

/** A value other than the default in every column of every table. */
const inserts = [
  `insert into tenants values ('${tenant}', 'Bäckerei', 'backerei', false, 3, '${at}', '${at}', 17)`,
  ...[tenant, platform].map(
    (home) =>
      `insert into users (tenant_id, id, email, full_name, role, password_hash, is_active, email_verified, token_epoch,
         session_epoch, created_at, updated_at, removal_announced_at)
       values ('${home}', '${user}', '${home}@shop.example', 'Ann', '${home === platform ? 'super_admin' : 'member'}',
         'hash', false, true, 4, 5, '${at}', '${at}', '${at}')`,
  ),
  `insert into shopping_lists values ('${tenant}', '${list}', 'Weekend', 'A note', '${user}', '${user}', 7, 8, 9, 10,
     '${at}', '${at}', '${at}', '9f3ac01b', 7, 18, 7, 19, 6)`,
  `insert into list_members values ('${tenant}', '${list}', '${user}', 'owner', '${at}')`,
  `insert into items values ('${tenant}', '${item}', '${list}', 'Milk', 1.125, 'l', 'note', 'dairy', 'purchased', 'a0',
     '${user}', '${user}', '${user}', '${at}', 11, '${at}', '${at}', '${at}')`,
  `insert into list_events values ('${tenant}', '${list}', 7, 'item_added', '{"a": [1]}', '${user}', '${at}',
     '${session}')`,
  `insert into keyed_calls values ('${tenant}', '${entry}', '${user}', 'POST', '/a', 'b', '${list}', '{${item}}', '${at}')`,
  `insert into revocations values ('${tenant}', '${session}', 12, '${session}', 13, '${at}')`,
  `insert into spent_invitations values ('${tenant}', '${session}', '${at}')`,
  `insert into refusal_counts values ('${platform}', '${entry}', '${at}', '203.0.113.0/24', 'auth.sign_in_failed',
     'invalid_credentials', 14, true, '${at}')`,
  `insert into store_entries values ('key', 'value', '${at}')`,
  `insert into audit_log values ('${tenant}', '${entry}', '${at}', 'user.created', '${user}', 'tenant_admin', 'user',
     '${user}', '{"b": 2}', '203.0.113.7', 'request-1')`,
  `update installation set upgraded_as = 'before', shared_role_seen_at = '${at}'`,
  `insert into mail_outbox values ('${tenant}', '${mail}', '\\x0102', 3, '${at}', '${at}')`,
]

async function snapshotOf(ask: Ask): Promise<Snapshot> {
  const columns = await ask(
    `select c.table_name as "table", string_agg(c.column_name, ',' order by c.ordinal_position) as "all"
     from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
     where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.table_name <> 'schema_migrations'
     group by 1 order by 1`,
  )
  const snapshot: Snapshot = new Map()
  for (const { table, all } of columns) {
    const names = String(all).split(',')
    const quoted = names.map((name) => `"${name}"`).join(', ')
    const rows = await ask(
      `select row_to_json(r)::text as json from (select ${quoted} from ${table}) r order by 1`,
    )
    snapshot.set(String(table), {
      columns: names,
      rows: rows.map(({ json }) => JSON.parse(String(json))),
    })
  }
  return snapshot
}

/** The part of `full` that fits into the tables and columns of `shape`. */
const thatFits = (full: Snapshot, shape: Snapshot): Record<string, unknown> =>
  Object.fromEntries(
    [...shape].map(([table, { columns }]) => [
      table,
      (full.get(table)?.rows ?? []).map((row) =>
        Object.fromEntries(columns.map((name) => [name, row[name]])),
      ),
    ]),
  )

const rowsOf = (snapshot: Snapshot): Record<string, unknown> => thatFits(snapshot, snapshot)

/** @param look queries as a role that sees all rows, which the migrating role may not */
async function backAndForth(connection: MigrationConnection, look: Ask, steps: number): Promise<void> {
  await migrateUp(connection, own)
  for (const statement of inserts) await look(statement)
  const full = await snapshotOf(look)
  const bare = [...full].flatMap(([table, { columns, rows }]) =>
    columns
      .filter((name) => rows.every((row) => row[name] === null || row[name] === undefined))
      .map((name) => `${table}.${name}`),
  )
  expect(bare, 'columns without data: add them to the inserts above').toEqual([])

  await migrateDown(connection, own, steps)
  const lower = await snapshotOf(look)
  expect(rowsOf(lower)).toEqual(thatFits(full, lower))
  await migrateUp(connection, own)
  const again = await snapshotOf(look)
  expect([...again.keys()]).toEqual([...full.keys()])
  for (const [table, { columns }] of again)
    expect(columns.toSorted()).toEqual(full.get(table)?.columns.toSorted() ?? [])
  if (lower.size > 0) expect(thatFits(again, lower)).toEqual(rowsOf(lower))
}

const everyStep = migrations.map((_, index) => index + 1)

describe('migrations over data, embedded', () => {
  test.each([1, migrations.length])('%i down and up again', async (steps) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'minimart-migrate-'))
    try {
      await fillDataDir(dataDir, 'empty')
      await withMigrationConnection(optionsFor(null, dataDir), (connection) =>
        backAndForth(connection, connection.query, steps),
      )
    } finally {
      await rm(dataDir, { recursive: true })
    }
  })
})

describePostgres('migrations over data, PostgreSQL', () => {
  test.each(everyStep)('%i down and up again, by an ordinary owner of the database', async (steps) => {
    const { url, drop } = await (await testPostgres()).createDatabase()
    const admin = postgres(url, { max: 1, onnotice: () => undefined })
    const owner = `owner_${crypto.randomUUID().slice(0, 8)}`
    try {
      const ask: Ask = async (text) => await admin.unsafe(text)
      await ask(`create role ${owner} login createrole`)
      await ask(`alter database ${new URL(url).pathname.slice(1)} owner to ${owner}`)
      const asOwner = new URL(url)
      asOwner.username = owner
      await withMigrationConnection(optionsFor(asOwner.href), (connection) =>
        backAndForth(connection, ask, steps),
      )
    } finally {
      await admin.unsafe(`drop owned by ${owner} cascade`).catch(() => undefined)
      await admin.end({ timeout: 2 })
      await drop()
      const server = postgres((await testPostgres()).url, { max: 1, onnotice: () => undefined })
      await server.unsafe(`drop role if exists ${owner}`).catch(() => undefined)
      await server.end({ timeout: 2 })
    }
  })
})

const beforeAddresses = migrations.findIndex(({ name }) => name.endsWith('_addresses'))

describePostgres('accounts that wait for one address', () => {
  test('are told apart by a migration down: the verified one keeps it, else the one made last; the others stay', async () => {
    const { url, drop } = await (await testPostgres()).createDatabase()
    const ask = postgres(url, { max: 1, onnotice: () => undefined })
    const homes = ['a', 'b', 'c'].map((digit) => `01900000-0000-7000-8000-00000000000${digit}`)
    try {
      await withMigrationConnection(optionsFor(url), async (connection) => {
        await migrateUp(connection, own)
        for (const home of homes)
          await ask`insert into tenants (id, name, slug) values (${home}, 'Home', ${home})`
        for (const [index, home] of homes.entries())
          for (const [email, isVerified] of [
            ['waits@shop.example', false],
            ['has@shop.example', index === 2],
          ] as const)
            await ask`insert into users (tenant_id, id, email, full_name, role, password_hash, email_verified, created_at)
              values (${home}, ${crypto.randomUUID()}, ${email}, 'Ann', 'member', 'hash', ${isVerified},
                ${`2026-01-0${index + 1}`})`
        await migrateDown(connection, own, migrations.length - beforeAddresses)
      })
      const left = await ask`select tenant_id, email, is_active from users where email !~ '^released-'`
      expect(left.map(({ tenant_id, email }) => [tenant_id, email]).toSorted()).toEqual([
        [homes[2], 'has@shop.example'],
        [homes[2], 'waits@shop.example'],
      ])
      const released = await ask`select id, email, is_active from users where email ~ '^released-'`
      expect(released).toHaveLength(4)
      for (const { id, email, is_active } of released)
        expect([email, is_active]).toEqual([`released-${id}@address.invalid`, false])
    } finally {
      await ask.end({ timeout: 2 })
      await drop()
    }
  })
})
