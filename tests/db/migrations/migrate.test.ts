import { describe, expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { generateNKeysBetween } from 'fractional-indexing'
import postgres from 'postgres'
import type { MigrationConnection } from '../../../src/db/database.ts'
import { migrateDown, migrateUp } from '../../../src/db/migrations/migrate.ts'
import { type Migration, migrations } from '../../../src/db/migrations/migrations.ts'
import { migrationState, migrationStatus } from '../../../src/db/migrations/status.ts'
import { openDatabase, withMigrationConnection } from '../../../src/db/open.ts'
import { OperatorError } from '../../../src/errors.ts'
import { fillDataDir } from '../../support/data-dir.ts'
import {
  describePostgres,
  describePrivatePostgres,
  startPostgres,
  testPostgres,
} from '../../support/postgres.ts'
import { failureOf, optionsFor, silentLog } from '../setup.ts'

const folder = join(import.meta.dir, '../../../drizzle')
const own = { log: silentLog }

const first: Migration = {
  version: 0,
  name: '0000_first',
  up: 'create table first (id integer)',
  down: 'drop table first',
}
const second: Migration = {
  version: 1,
  name: '0001_second',
  up: 'alter table first add column second text;\n--> statement-breakpoint\ninsert into first values (1, $$a;b$$)',
  down: 'delete from first;\n--> statement-breakpoint\nalter table first drop column second',
}
const withMigrations = (...list: Migration[]) => ({ ...own, migrations: list })

type Open = <T>(work: (connection: MigrationConnection, url: string | null) => Promise<T>) => Promise<T>

function describeMigrations(onEmpty: Open): void {
  test('are applied in order, once, and reverted in reverse order', () =>
    onEmpty(async (connection) => {
      const both = withMigrations(first, second)
      expect(await migrateUp(connection, withMigrations(first))).toEqual(['0000_first'])
      expect(await migrateUp(connection, both)).toEqual(['0001_second'])
      expect(await migrateUp(connection, both)).toEqual([])
      expect(await connection.query('select id, second from first')).toEqual([{ id: 1, second: 'a;b' }])
      expect(await migrateDown(connection, both)).toEqual(['0001_second'])
      const states = await migrationStatus(connection, both.migrations)
      expect(states.map(({ appliedAt }) => appliedAt === null)).toEqual([false, true])
      expect(await migrateDown(connection, both, 9)).toEqual(['0000_first'])
      expect(await migrateUp(connection, both)).toEqual(['0000_first', '0001_second'])
    }))

  test('a failing one leaves nothing behind', () =>
    onEmpty(async (connection) => {
      const broken = { ...second, up: `${second.up};\n--> statement-breakpoint\nselect nonsense` }
      const error = await failureOf(migrateUp(connection, withMigrations(first, broken)))
      expect(error).toMatchObject({ message: expect.stringContaining('0001_second') })
      expect(await migrateUp(connection, withMigrations(first, second))).toEqual(['0001_second'])
    }))

  test('one edited after it was applied is refused by name, in both directions', () =>
    onEmpty(async (connection) => {
      await migrateUp(connection, withMigrations(first, second))
      const edited = withMigrations({ ...first, up: `${first.up} ` }, second)
      for (const work of [migrateUp, migrateDown]) {
        const error = await failureOf(work(connection, edited))
        expect(error).toBeInstanceOf(OperatorError)
        expect(error).toMatchObject({ message: expect.stringContaining('0000_first') })
      }
    }))

  test('line endings do not matter', () =>
    onEmpty(async (connection) => {
      await migrateUp(connection, withMigrations(first, second))
      const checkedOutOnWindows = { ...second, up: second.up.replaceAll('\n', '\r\n') }
      expect(await migrateUp(connection, withMigrations(first, checkedOutOnWindows))).toEqual([])
    }))

  test('a database newer than the program is refused', () =>
    onEmpty(async (connection) => {
      await migrateUp(connection, withMigrations(first, second))
      for (const work of [migrateUp, migrateDown]) {
        const error = await failureOf(work(connection, withMigrations(first)))
        expect(error).toBeInstanceOf(OperatorError)
        expect(error).toMatchObject({ message: expect.stringContaining('newer than this program') })
      }
    }))

  test(
    'the real ones go up, down and up again',
    () =>
      onEmpty(async (connection) => {
        const names = migrations.map(({ name }) => name)
        expect(await migrateUp(connection, own)).toEqual(names)
        expect(await migrateDown(connection, own, names.length)).toEqual(names.toReversed())
        const left = await connection.query(
          `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'`,
        )
        expect(left).toEqual([{ relname: 'schema_migrations' }])
        const functions = await connection.query(
          `select proname from pg_proc where pronamespace = 'public'::regnamespace`,
        )
        expect(functions).toEqual([])
        expect(await migrateUp(connection, own)).toEqual(names)
      }),
    20_000,
  )

  test(
    'positions_after generates the same keys as fractional-indexing',
    () =>
      onEmpty(async (connection) => {
        await migrateUp(connection, own)
        const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
        const digit = fc.oneof(fc.constantFrom(...digits), fc.constantFrom('z', 'z', 'y', '0'))
        const head = fc.oneof(fc.constantFrom(...digits.slice(10)), fc.constantFrom('z', 'Z', 'A', 'Y', 'a'))
        const lengthOf = (letter: string) =>
          letter >= 'a' ? letter.charCodeAt(0) - 96 : 91 - letter.charCodeAt(0)
        const largest = fc.constant(`z${'z'.repeat(26)}`)
        const whole = fc.oneof(
          {
            weight: 4,
            arbitrary: head.chain((letter) =>
              fc
                .array(digit, { minLength: lengthOf(letter), maxLength: lengthOf(letter) })
                .map((rest) => letter + rest.join('')),
            ),
          },
          { weight: 1, arbitrary: largest },
        )
        const fraction = fc.array(digit, { maxLength: 5 }).map((rest) => rest.join('').replace(/0+$/, ''))
        const key = fc
          .tuple(whole, fraction)
          .map((parts) => parts.join(''))
          .filter((text) => text !== `A${'0'.repeat(26)}`)
        await fc.assert(
          fc.asyncProperty(fc.option(key), fc.integer({ min: 1, max: 70 }), async (last, amount) => {
            const rows = await connection.query(
              last === null
                ? `select key from positions_after(null, $1) order by ordinal`
                : `select key from positions_after($2, $1) order by ordinal`,
              last === null ? [String(amount)] : [String(amount), last],
            )
            expect(rows.map((row) => row['key'])).toEqual(generateNKeysBetween(last, null, amount))
          }),
          { numRuns: 300 },
        )
      }),
    20_000,
  )
}

test('every migration file is bundled, in order, with its down migration', async () => {
  const files = await Array.fromAsync(new Bun.Glob('*.sql').scan(folder))
  const upFiles = files.filter((file) => !file.endsWith('.down.sql')).toSorted()
  expect(migrations.map(({ name }) => `${name}.sql`)).toEqual(upFiles)
  expect(files).toHaveLength(2 * migrations.length)
  for (const [index, { version, name, up, down }] of migrations.entries()) {
    expect(version).toBe(index)
    expect(Number(name.slice(0, 4))).toBe(index)
    expect(up).toBe(await Bun.file(join(folder, `${name}.sql`)).text())
    expect(down).toBe(await Bun.file(join(folder, `${name}.down.sql`)).text())
  }
})

describe('migrations on the embedded database', () => {
  describeMigrations(async (work) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'minimart-migrate-'))
    try {
      await fillDataDir(dataDir, 'empty')
      return await withMigrationConnection(optionsFor(null, dataDir), (connection) => work(connection, null))
    } finally {
      await rm(dataDir, { recursive: true })
    }
  })
})

describePostgres('migrations on PostgreSQL', () => {
  const onEmpty: Open = async (work) => {
    const { url, drop } = await (await testPostgres()).createDatabase()
    try {
      return await withMigrationConnection(optionsFor(url), (connection) => work(connection, url))
    } finally {
      await drop()
    }
  }
  describeMigrations(onEmpty)

  test('several instances that start together wait for each other', () =>
    onEmpty(async (_, url) => {
      const applied = await Promise.all(
        Array.from({ length: 6 }, () =>
          withMigrationConnection(optionsFor(url), (connection) => migrateUp(connection, own)),
        ),
      )
      expect(applied.flat().toSorted()).toEqual(migrations.map(({ name }) => name))
    }))

  test('the running service reports pending, newer and edited migrations', () =>
    onEmpty(async (connection, url) => {
      await migrateUp(connection, withMigrations())
      const db = await openDatabase({ ...optionsFor(url), autoMigrate: false })
      const names = migrations.map(({ name }) => name)
      expect(await migrationState(db)).toEqual({ state: 'pending', pending: names })
      await migrateUp(connection, own)
      expect(await migrationState(db)).toEqual({ state: 'current' })
      expect(await migrationState(db, migrations.slice(0, 1))).toEqual({ state: 'newer' })
      const [first, ...rest] = migrations
      const edited = [{ ...(first ?? migrations[0]), up: 'select 1' }, ...rest] as typeof migrations
      expect(await migrationState(db, edited)).toMatchObject({ state: 'foreign' })
      expect(await migrationState(db, edited.slice(0, 1))).toMatchObject({ state: 'foreign' })
      await db.close()
    }))
})

describePrivatePostgres('migrations on a server that is new', () => {
  test('several users can migrate several databases concurrently', async () => {
    const server = await startPostgres()
    const admin = postgres(server.url, { max: 1, onnotice: () => undefined })
    try {
      const urls: string[] = []
      for (const user of ['one', 'two', 'three', 'four', 'five', 'six']) {
        await admin.unsafe(`create role ${user} login createrole`)
        await admin.unsafe(`create database ${user} owner ${user}`)
        urls.push(server.url.replace('postgres@', `${user}@`).replace(/[^/]*$/, user))
      }
      const opened = await Promise.all(urls.map((url) => openDatabase(optionsFor(url))))
      for (const db of opened) {
        expect(await migrationState(db)).toEqual({ state: 'current' })
        await db.close()
      }
    } finally {
      await admin.end({ timeout: 2 })
      await server.end()
    }
  }, 60_000)
})
