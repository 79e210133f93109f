/** PgBouncer in front of PostgreSQL: in session mode it works as it comes, in others it is refused at once. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { openDatabase } from '../../../src/db/open.ts'
import { SessionsShared } from '../../../src/db/postgres/pooler.ts'
import { OperatorError } from '../../../src/errors.ts'
import { describePooler, type Pooler, startPgbouncer } from '../../support/pgbouncer.ts'
import { type TestDatabase, testPostgres } from '../../support/postgres.ts'
import { describeExecutable } from '../../support/program.ts'
import { rounds } from '../../support/rounds.ts'
import { createList, createTenant, failureOf, optionsFor } from '../setup.ts'

const attempts = rounds('POOLER', { suite: 3, long: 100 })
/** What a start waits for a database that is away. */
const waitSeconds = 30

const sharing = {
  'of transactions': { pool_mode: 'transaction' },
  'of statements': { pool_mode: 'statement' },
  'of transactions, in turn': { pool_mode: 'transaction', server_round_robin: '1' },
}

describePooler('behind PgBouncer', () => {
  let database: TestDatabase
  const poolers = new Map<string, Pooler>()
  beforeAll(async () => {
    const server = await testPostgres()
    database = await server.createDatabase()
    for (const [name, settings] of Object.entries({ ...sharing, 'of sessions': { pool_mode: 'session' } }))
      poolers.set(name, await startPgbouncer(server.url, { ...settings, default_pool_size: '30' }))
  })
  afterAll(async () => {
    await Promise.all([...poolers.values()].map((pooler) => pooler.end()))
    await database.drop()
  })

  const urlOf = (name: string): string => poolers.get(name)?.to(database.url) ?? ''
  const refusal = (name: string): Promise<unknown> =>
    failureOf(openDatabase({ ...optionsFor(urlOf(name)), waitSeconds }))

  /** Keeps the pool busy with other clients' transactions while `work` runs. */
  async function besideOthers<T>(name: string, work: () => Promise<T>): Promise<T> {
    let over = false
    const clients = Array.from({ length: 6 }, () => postgres(urlOf(name), { max: 1, prepare: false }))
    const load = clients.map(async (client) => {
      while (!over) await client.unsafe('select pg_sleep(random() / 500)').simple()
    })
    try {
      return await work()
    } finally {
      over = true
      await Promise.all(load)
      await Promise.all(clients.map((client) => client.end({ timeout: 2 })))
    }
  }

  test.each(Object.keys(sharing))(
    'with a pool %s, a start is refused at once, whatever the pool does',
    async (name) => {
      const errors = [await refusal(name), await refusal(name)]
      await besideOthers(name, async () => {
        for (let attempt = 0; attempt < attempts; attempt++) errors.push(await refusal(name))
      })
      for (const error of errors) {
        expect(error).toBeInstanceOf(SessionsShared)
        expect(error).toMatchObject({ message: expect.stringContaining('pool_mode session') })
      }
      const direct = postgres(database.url, { max: 1 })
      const [found] = await direct`select to_regclass('schema_migrations') is null as untouched`
      await direct.end({ timeout: 2 })
      expect(found?.['untouched']).toBe(true)
    },
  )

  test('with a pool of sessions everything works, and no start is refused', async () => {
    const { url, drop } = await (await testPostgres()).createDatabase()
    const through = poolers.get('of sessions')?.to(url) ?? ''
    const db = await openDatabase(optionsFor(through))
    const tenants = await Promise.all([createTenant(db), createTenant(db)])
    for (const tenant of tenants) for (let count = 0; count < 3; count++) await createList(db, tenant)
    const reads = Array.from({ length: 200 }, async (_, index) => {
      const { scope } = tenants[index % 2 === 0 ? 0 : 1]
      const [row] = await db.read<{ lists: number }>(scope, sql`select count(*) as lists from shopping_lists`)
      return row?.lists
    })
    expect(new Set(await Promise.all(reads))).toEqual(new Set([3]))
    const [session] = await db.read<Record<string, unknown>>(
      'system',
      sql`select current_setting('default_transaction_read_only') as "readOnly",
        current_setting('statement_timeout') as timeout, current_user like 'minimart_app_%' as "inRole"`,
    )
    expect(session).toEqual({ readOnly: 'on', timeout: '9s', inRole: true })
    await besideOthers('of sessions', async () => {
      for (let attempt = 0; attempt < attempts; attempt++)
        await (await openDatabase({ ...optionsFor(through), autoMigrate: false })).close()
    })
    await db.close()
    await drop()
  })

  test('a pooler that refuses the connection is quoted', async () => {
    const url = new URL(urlOf('of sessions'))
    url.searchParams.set('lock_timeout', '5')
    const error = await failureOf(openDatabase({ ...optionsFor(url.href), waitSeconds: 0 }))
    expect(error).toBeInstanceOf(OperatorError)
    expect(error).toMatchObject({
      message: expect.stringContaining('unsupported startup parameter: lock_timeout'),
    })
  })

  describeExecutable('the program', (program) => {
    const env = (name: string) => ({
      PORT: '0',
      DATABASE_URL: urlOf(name),
      JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789',
    })

    test('does not start on a pool of transactions, and says why; check says what to do', async () => {
      const served = await program.run([], { env: env('of transactions') })
      expect(served.code).toBe(1)
      expect(served.stderr).toContain('pool_mode session')
      expect(served.stdout + served.stderr).not.toContain('Waiting for the database')
      const { code, stdout } = await program.run(['check', '--json'], { env: env('of transactions') })
      expect(code).toBe(1)
      const lines = stdout.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []))
      expect(lines.find(({ check }) => check === 'database')).toMatchObject({
        ok: false,
        detail: expect.stringContaining('connection pooler'),
        remedy: expect.stringContaining('pool_mode=session'),
      })
    })
  })
})
