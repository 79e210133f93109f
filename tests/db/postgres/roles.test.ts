import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { openDatabase } from '../../../src/db/open.ts'
import { OperatorError } from '../../../src/errors.ts'
import { recordingLogger } from '../../support/log.ts'
import { describePrivatePostgres, type PrivatePostgres, startPostgres } from '../../support/postgres.ts'
import { createList, createTenant, failureOf, optionsFor } from '../setup.ts'

describePrivatePostgres('the role the service takes on PostgreSQL', () => {
  let server: PrivatePostgres
  let admin: postgres.Sql
  beforeAll(async () => {
    server = await startPostgres()
    admin = postgres(server.url, { max: 1, onnotice: () => undefined })
  })
  afterAll(async () => {
    await admin.end({ timeout: 2 })
    await server.end()
  })

  /** Creates a user with these attributes, and a database it owns. @returns its URL */
  async function databaseOf(user: string, attributes: string): Promise<string> {
    await admin.unsafe(`create role ${user} login ${attributes}`)
    await admin.unsafe(`create database ${user} owner ${user}`)
    const url = new URL(server.url)
    url.username = user
    url.pathname = `/${user}`
    return url.href
  }

  const ownRoleOf = async (database: string): Promise<string> => {
    const [row] =
      await admin`select 'minimart_app_' || oid as role from pg_database where datname = ${database}`
    return row?.['role']
  }

  const roleAndRows = async (url: string) => {
    const db = await openDatabase(optionsFor(url))
    const tenants = [await createTenant(db), await createTenant(db)]
    for (const tenant of tenants) await createList(db, tenant)
    const [tenant] = tenants
    const seen = await db.read<{ user: string; n: number }>(
      tenant?.scope ?? 'system',
      sql`select current_user as user, count(*) as n from shopping_lists`,
    )
    await db.close()
    return seen[0]
  }

  test('an owner who cannot create roles keeps their own role, bound by row-level security', async () => {
    expect(await roleAndRows(await databaseOf('plain_owner', ''))).toEqual({ user: 'plain_owner', n: 1 })
  })

  test('a user who bypasses row-level security and cannot switch roles is refused before anything changes', async () => {
    const url = await databaseOf('bypasser', 'bypassrls')
    const error = await failureOf(openDatabase(optionsFor(url)))
    expect(error).toBeInstanceOf(OperatorError)
    expect(error).toMatchObject({ message: expect.stringContaining('BYPASSRLS') })
    const own = postgres(url, { max: 1 })
    expect(await own`select relname from pg_class where relname = 'schema_migrations'`).toHaveLength(0)
    await own.end({ timeout: 2 })
  })

  test('a user who may create roles creates the role and takes it', async () => {
    expect(await roleAndRows(await databaseOf('role_maker', 'createrole'))).toEqual({
      user: await ownRoleOf('role_maker'),
      n: 1,
    })
  })

  test('a superuser takes the role', async () => {
    expect(await roleAndRows(await databaseOf('almighty', 'superuser'))).toEqual({
      user: await ownRoleOf('almighty'),
      n: 1,
    })
  })

  test('an owner who is not a member of the role keeps their own one', async () => {
    const url = await databaseOf('outsider', '')
    await admin`create role ${admin(await ownRoleOf('outsider'))}`
    expect(await roleAndRows(url)).toEqual({ user: 'outsider', n: 1 })
  })

  test('a role that an administrator creates and grants later is taken from the next start on', async () => {
    const url = await databaseOf('late_member', '')
    expect(await roleAndRows(url)).toEqual({ user: 'late_member', n: 1 })
    const role = await ownRoleOf('late_member')
    await admin`create role ${admin(role)}`
    await admin`grant ${admin(role)} to late_member`
    expect(await roleAndRows(url)).toEqual({ user: role, n: 1 })
  })

  test('a role without rights on the tables is not taken', async () => {
    const url = await databaseOf('revoker', 'createrole')
    await (await openDatabase(optionsFor(url))).close()
    const own = postgres(url, { max: 1, onnotice: () => undefined })
    await own`revoke all on all tables in schema public from ${own(await ownRoleOf('revoker'))}`
    const db = await openDatabase({ ...optionsFor(url), autoMigrate: false })
    expect(await db.read('system', sql`select current_user::text as user`)).toEqual([{ user: 'revoker' }])
    await Promise.all([db.close(), own.end({ timeout: 2 })])
  })

  test('a user who may not create tables is refused with the reason', async () => {
    const url = new URL(await databaseOf('landless', ''))
    await admin`alter database landless owner to postgres`
    const error = await failureOf(openDatabase(optionsFor(url.href)))
    expect(error).toBeInstanceOf(OperatorError)
    expect(error).toMatchObject({ message: expect.stringContaining('owner of the database') })
  })

  test('a wrong database name is reported immediately, without the password', async () => {
    const url = new URL(server.url)
    url.pathname = '/nowhere'
    url.password = 'open sesame'
    const error = await failureOf(openDatabase({ ...optionsFor(url.href), waitSeconds: 30 }))
    expect(error).toMatchObject({ message: expect.stringContaining('nowhere') })
    expect(Bun.inspect(error)).not.toContain('sesame')
  })

  test('an unavailable server is retried until the timeout', async () => {
    const log = recordingLogger()
    const url = await databaseOf('patient', '')
    await server.stop()
    const error = await failureOf(openDatabase({ ...optionsFor(url), log }))
    expect(error).toBeInstanceOf(OperatorError)
    expect(error).toMatchObject({ message: expect.stringContaining('did not answer') })
    const opening = openDatabase({ ...optionsFor(url), log, waitSeconds: 20 })
    await server.start()
    const db = await opening
    expect(log.messages()).toContain('Waiting for the database')

    await server.stop('crash')
    const lost = await failureOf(db.read('system', sql`select 1`))
    expect(lost).toMatchObject({ code: 'database_unavailable', status: 503 })
    await server.start()
    const giveUpAt = performance.now() + 5000
    const again = async (): Promise<unknown> =>
      db.read('system', sql`select 1 as one`).catch((failure) => {
        if (performance.now() > giveUpAt) throw failure
        return again()
      })
    expect(await again()).toEqual([{ one: 1 }])
    await db.close()
  }, 60_000)
})
