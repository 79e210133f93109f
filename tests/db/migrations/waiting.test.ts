/** Migrations running beside a serving release, and beside other migrations. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import type { MigrationConnection } from '../../../src/db/database.ts'
import { databaseError, errorCode } from '../../../src/db/errors.ts'
import { type MigrateOptions, migrateUp } from '../../../src/db/migrations/migrate.ts'
import { type Migration, migrations } from '../../../src/db/migrations/migrations.ts'
import { withMigrationConnection } from '../../../src/db/open.ts'
import { OperatorError } from '../../../src/errors.ts'
import { recordingLogger } from '../../support/log.ts'
import { describePostgres, type TestDatabase, testPostgres } from '../../support/postgres.ts'
import { until } from '../../support/until.ts'
import { failureOf, optionsFor, silentLog } from '../setup.ts'

const lockMs = 300
const pending: Migration = {
  version: migrations.length,
  name: `000${migrations.length}_pending`,
  up: 'alter table users add column pending text',
  down: 'alter table users drop column pending',
}
const options: MigrateOptions = {
  log: silentLog,
  migrations: [...migrations, pending],
  lockRetries: { lockTimeoutMs: lockMs, pauseMs: 100, tries: 100 },
}

describePostgres('a migration that must wait', () => {
  let database: TestDatabase
  let reader: postgres.Sql
  let other: postgres.Sql
  beforeAll(async () => {
    database = await (await testPostgres()).createDatabase()
    const connect = () => postgres(database.url, { max: 1, onnotice: () => undefined })
    ;[reader, other] = [connect(), connect()]
    await migrate({ log: silentLog })
  })
  afterAll(async () => {
    await Promise.all([reader.end({ timeout: 2 }), other.end({ timeout: 2 })])
    await database.drop()
  })

  const migrate = (given: MigrateOptions, wrap = (connection: MigrationConnection) => connection) =>
    withMigrationConnection(optionsFor(database.url), (connection) => migrateUp(wrap(connection), given))

  test('for a long read blocks others only briefly, and is applied once the read has ended', async () => {
    const log = recordingLogger()
    let slowestMs = 0
    const migrated = await reader.begin('isolation level repeatable read', async (read) => {
      await read`select count(*) from users`
      const migrating = migrate({ ...options, log })
      const startedAt = performance.now()
      // Spans several attempts and the pauses between them.
      while (performance.now() < startedAt + 4 * lockMs) {
        const askedAt = performance.now()
        await other`select count(*) from users`
        slowestMs = Math.max(slowestMs, performance.now() - askedAt)
      }
      await read`select count(*) from users`
      return { migrating }
    })
    expect(await migrated.migrating).toEqual([pending.name])
    // It did block others, so the bound means something.
    expect(slowestMs).toBeGreaterThan(lockMs / 4)
    expect(slowestMs).toBeLessThan(lockMs + 1000)
    expect(log.messages().filter((message) => message.startsWith('Waiting: a transaction'))).toHaveLength(1)
    await other.unsafe(`${pending.down}; delete from schema_migrations where version = ${pending.version}`)
  }, 20_000)

  test('gives up in the end, leaves nothing behind and says what blocked it', async () => {
    const error = await reader.begin(async (read) => {
      await read`select count(*) from users`
      return failureOf(migrate({ ...options, lockRetries: { lockTimeoutMs: 50, pauseMs: 10, tries: 3 } }))
    })
    expect(error).toBeInstanceOf(OperatorError)
    expect(error).toMatchObject({
      message: expect.stringMatching(/nothing of it was applied.+3 tries.+pg_stat/),
    })
  })

  test('and is chosen as the victim of a deadlock is applied once the other transaction has ended', async () => {
    const log = recordingLogger()
    const deadlock: Migration = {
      ...pending,
      up: 'lock table users; --> statement-breakpoint\nalter table tenants add column pending text',
    }
    // So that it is the migration whose wait PostgreSQL looks into first, once the other waits as well.
    await reader`set deadlock_timeout = '1min'`
    await other.unsafe(
      `alter database ${new URL(database.url).pathname.slice(1)} set deadlock_timeout = '400ms'`,
    )
    let waits = false
    const failures: string[] = []
    const watching = ({ query }: MigrationConnection): MigrationConnection => ({
      query: (text, parameters) => {
        waits ||= text.startsWith('alter table tenants')
        return query(text, parameters).catch((error) => {
          failures.push(errorCode(error.cause))
          throw error
        })
      },
    })
    const migrating = await reader.begin(async (held) => {
      await held`select count(*) from tenants`
      const lockRetries = { lockTimeoutMs: 10_000, pauseMs: 10, tries: 1000 }
      const running = migrate(
        { ...options, log, lockRetries, migrations: [...migrations, deadlock] },
        watching,
      )
      await until(() => waits, 'the wait for the second table')
      await held`select count(*) from users`
      return { running }
    })
    expect(await migrating.running).toEqual([pending.name])
    expect(failures[0]).toBe('40P01')
    expect(log.messages().filter((message) => message.startsWith('Waiting: a transaction'))).toHaveLength(1)
    await other.unsafe(
      `alter table tenants drop column pending; delete from schema_migrations where version = ${pending.version}`,
    )
  }, 20_000)

  test.each(['40P01', '40001'])('and is ended with %s is tried again', async (code) => {
    let failures = 2
    const failing = ({ query }: MigrationConnection): MigrationConnection => ({
      query: async (text, parameters) => {
        if (text.startsWith('alter table users') && failures-- > 0)
          throw databaseError(Object.assign(new Error('not this time'), { code }))
        return await query(text, parameters)
      },
    })
    expect(await migrate(options, failing)).toEqual([pending.name])
    expect(failures).toBe(-1)
    await other.unsafe(`${pending.down}; delete from schema_migrations where version = ${pending.version}`)
  })

  test('for another migration says so when it times out', async () => {
    const [key] = await reader<{ key: string }[]>`select 7883954021774488180 as key`
    await reader`select pg_advisory_lock(${key?.key ?? ''}::bigint)`
    const error = await failureOf(migrate({ ...options, queueTimeoutMinutes: 0.005 }))
    await reader`select pg_advisory_unlock_all()`
    expect(error).toBeInstanceOf(OperatorError)
    expect(error).toMatchObject({ message: expect.stringContaining('Another process has been migrating') })
  })

  test('for the response to its commit, which is lost, does not claim that nothing was applied', async () => {
    const losingCommits = ({ query }: MigrationConnection): MigrationConnection => ({
      query: async (text, parameters) => {
        const rows = await query(text, parameters)
        if (text !== 'commit') return rows
        throw databaseError(Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED' }))
      },
    })
    const error = await failureOf(migrate(options, losingCommits))
    expect(error).toBeInstanceOf(OperatorError)
    expect(error).toMatchObject({ message: expect.stringMatching(/failed, or was applied/) })
    expect(await migrate(options)).toEqual([])
  })
})
