/** Databases of one PostgreSQL server are apart: none of them can be read with the login of another. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import type { MigrationConnection } from '../../../src/db/database.ts'
import { migrateDown, migrateUp } from '../../../src/db/migrations/migrate.ts'
import { migrations } from '../../../src/db/migrations/migrations.ts'
import { applicationRole } from '../../../src/db/migrations/role.ts'
import { firstWithoutIt, revokeSharedRole, sharedRoleSeenAt } from '../../../src/db/migrations/shared-role.ts'
import { openDatabase, withMigrationConnection } from '../../../src/db/open.ts'
import { createHousekeeping } from '../../../src/features/housekeeping/job.ts'
import { createTableStore } from '../../../src/store/database.ts'
import { recordingLogger } from '../../support/log.ts'
import { migrateAsBefore, serveAsBefore } from '../../support/older-release.ts'
import { describePrivatePostgres, type PrivatePostgres, startPostgres } from '../../support/postgres.ts'
import { createList, createTenant, failureOf, optionsFor, silentLog, type Tenant } from '../setup.ts'

const refused = '42501'
const noSuchRole = '22023'

describePrivatePostgres('databases of one server', () => {
  let server: PrivatePostgres
  let admin: postgres.Sql
  const clients: postgres.Sql[] = []
  beforeAll(async () => {
    server = await startPostgres()
    admin = connect(server.url)
  })
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.end({ timeout: 2 })))
    await server.end()
  })

  const connect = (url: string): postgres.Sql => {
    const client = postgres(url, { max: 1, onnotice: () => undefined })
    clients.push(client)
    return client
  }

  const urlFor = (user: string, database: string): string => {
    const url = new URL(server.url)
    url.username = user
    url.pathname = `/${database}`
    return url.href
  }

  /** Creates a user with these attributes, and an empty database of theirs with the same name. @returns its URL */
  async function databaseOf(user: string, attributes = ''): Promise<string> {
    await admin.unsafe(`create role ${user} login ${attributes}`)
    await admin.unsafe(`create database ${user} owner ${user}`)
    return urlFor(user, user)
  }

  const withConnection = <T>(
    url: string,
    work: (connection: MigrationConnection) => Promise<T>,
  ): Promise<T> => withMigrationConnection(optionsFor(url), work)
  const roleIn = (url: string): Promise<string> => withConnection(url, applicationRole)

  async function fill(url: string): Promise<Tenant> {
    const db = await openDatabase(optionsFor(url))
    const tenant = await createTenant(db)
    await createList(db, tenant)
    await db.close()
    return tenant
  }

  /** The rows, or the SQLSTATE. */
  const answerOf = async (statement: Promise<unknown>): Promise<unknown> =>
    statement.then(
      (rows) => rows,
      (error: { code: string }) => error.code,
    )

  /** Rights by table and function, of every role but the owner. */
  async function rightsIn(url: string): Promise<Record<string, string[]>> {
    const rows = await connect(url)`
      select to_regrole(grantee::regrole::text)::text as role, name || ' ' || privilege_type as right from (
        select relname::text as name, (aclexplode(relacl)).*, relowner as owner from pg_class
          where relnamespace = 'public'::regnamespace
        union all
        select proname::text, (aclexplode(proacl)).*, proowner from pg_proc where pronamespace = 'public'::regnamespace
      ) acl where grantee <> owner and grantee <> 0 order by 1, 2`
    return Object.fromEntries(
      Object.entries(Object.groupBy(rows, ({ role }) => role)).map(([role, own = []]) => [
        role,
        own.map(({ right }) => right),
      ]),
    )
  }

  test('a fresh database grants nothing to a role that others share, and lets nobody else connect', async () => {
    const [one, two] = [
      await databaseOf('fresh_one', 'createrole'),
      await databaseOf('fresh_two', 'createrole'),
    ]
    await Promise.all([fill(one), fill(two)])
    expect(await answerOf(admin`select from pg_roles where rolname = 'minimart_app'`)).toEqual([])
    const [first, second] = [await roleIn(one), await roleIn(two)]
    expect(first).not.toBe(second)
    expect(Object.keys(await rightsIn(one))).toEqual([first])
    expect(Object.keys(await rightsIn(two))).toEqual([second])
    const members = await admin`select distinct member::regrole::text as name from pg_auth_members
      where roleid = to_regrole(${first})`
    expect(members.map(({ name }) => name)).toEqual(['fresh_one'])
    expect(await answerOf(connect(urlFor('fresh_two', 'fresh_one'))`select 1`)).toBe(refused)
  })

  test.each(['createrole', ''])(
    'a login that may connect reads nothing, whatever it sets (%p)',
    async (attributes) => {
      const [a, b] = attributes === '' ? ['plain_a', 'plain_b'] : ['maker_a', 'maker_b']
      const [victim, neighbour] = [await databaseOf(a, attributes), await databaseOf(b, attributes)]
      const tenant = await fill(victim)
      await fill(neighbour)
      for (const user of [a, b]) await admin.unsafe(`alter role ${user} nocreaterole`)
      await admin.unsafe(`grant connect on database ${a} to ${b}`)
      const intruder = connect(urlFor(b, a))
      expect(await answerOf(intruder.unsafe(`set role ${await roleIn(victim)}`))).toBe(
        attributes === '' ? noSuchRole : refused,
      )
      expect(await answerOf(intruder`set role minimart_app`)).toBe(noSuchRole)
      await intruder`select set_config('app.scope', 'system', false), set_config('app.tenant_id', ${tenant.id}, false)`
      for (const table of ['users', 'shopping_lists', 'store_entries', 'installation'])
        expect([table, await answerOf(intruder`select * from ${intruder(table)}`)]).toEqual([table, refused])
      // On the way that its own service takes, it reads nothing of the other's either.
      await intruder.unsafe(`reset role`)
      expect(await answerOf(intruder`select retire_shared_role()`)).toBe(refused)
    },
  )

  test('a database that holds something else stays open to others, and so does one whose user may not close it', async () => {
    const shared = await databaseOf('sharing')
    await connect(shared)`create table something_else (id integer)`
    await fill(shared)
    const tenant = await databaseOf('renting')
    await admin`alter database renting owner to postgres`
    await connect(urlFor('postgres', 'renting'))`grant create on schema public to renting`
    const log = recordingLogger()
    await (await openDatabase({ ...optionsFor(tenant), log })).close()
    await (await openDatabase({ ...optionsFor(tenant), log })).close()
    const statement =
      'GRANT CONNECT ON DATABASE renting TO renting; REVOKE CONNECT ON DATABASE renting FROM PUBLIC;'
    expect(log.lines.flatMap(({ fields }) => fields?.['statement'] ?? [])).toEqual([statement])
    for (const database of ['sharing', 'renting'])
      expect(await answerOf(connect(urlFor('fresh_one', database))`select 1 as one`)).toEqual([{ one: 1 }])
  })

  test('a copy gets a role of its own at its first start, and the original’s loses what came with the copy', async () => {
    const original = await databaseOf('original', 'createrole createdb')
    await fill(original)
    await admin`create database duplicate template original owner original`
    const copy = urlFor('original', 'duplicate')
    const db = await openDatabase(optionsFor(copy))
    const role = await roleIn(copy)
    expect(await db.read('system', sql`select current_user::text as role`)).toEqual([{ role }])
    await createList(db, await createTenant(db))
    await db.close()
    expect(await rightsIn(copy)).toEqual({ [role]: (await rightsIn(original))[await roleIn(original)] ?? [] })
  })

  test('a copy without any rights, as pg_dump --no-privileges makes it, works again after the next start', async () => {
    const url = await databaseOf('restored', 'createrole')
    await fill(url)
    const before = await rightsIn(url)
    const role = await roleIn(url)
    const own = connect(url)
    await own.unsafe(`revoke all on all tables in schema public from ${role};
      revoke all on all functions in schema public from ${role}; revoke all on schema public from ${role};
      grant execute on function delete_audit_entries(timestamptz, integer) to public`)
    await fill(url)
    expect(await rightsIn(url)).toEqual(before)
    const isOpen = own`select has_function_privilege(
      'public', 'delete_audit_entries(timestamptz, integer)', 'EXECUTE') as "isOpen"`
    expect(await answerOf(isOpen)).toEqual([{ isOpen: false }])
  })

  async function upgraded(user: string): Promise<{ url: string; older: postgres.Sql; tenant: Tenant }> {
    const url = await databaseOf(user, 'createrole')
    await migrateAsBefore(url)
    // From PostgreSQL 16 on, only for the first who migrated a database of the server does the migration do it.
    await admin`grant minimart_app to ${admin(user)}`
    const older = serveAsBefore(url)
    clients.push(older)
    const tenant = { id: Bun.randomUUIDv7(), userId: Bun.randomUUIDv7(), scope: { tenantId: '' } }
    await older`select set_config('app.scope', 'system', false), set_config('app.tenant_id', ${tenant.id}, false)`
    await older`insert into tenants (id, name, slug) values (${tenant.id}, 'Older', ${user})`
    await older`insert into users (tenant_id, id, email, full_name, role, password_hash)
      values (${tenant.id}, ${tenant.userId}, ${`${user}@example.com`}, 'User', 'member', 'none')`
    return { url, older, tenant: { ...tenant, scope: { tenantId: tenant.id } } }
  }
  const addList = (older: postgres.Sql, { id, userId }: Tenant) => older`
    insert into shopping_lists (tenant_id, id, name, owner_id, created_by)
    values (${id}, ${Bun.randomUUIDv7()}, 'Older', ${userId}, ${userId}) returning name`
  const listsIn = (older: postgres.Sql) => older`select name from shopping_lists order by name`

  test('after an upgrade, the release before and this one work side by side, each in its role', async () => {
    const { url, older, tenant } = await upgraded('beside')
    const before = await rightsIn(url)
    expect(Object.keys(before)).toEqual(['minimart_app'])
    const db = await openDatabase(optionsFor(url))
    const role = await roleIn(url)
    expect(await db.read('system', sql`select current_user::text as role`)).toEqual([{ role }])
    await createList(db, tenant)
    await addList(older, tenant)
    const names = [{ name: 'List' }, { name: 'Older' }]
    expect(await answerOf(listsIn(older))).toEqual(names)
    expect(await db.read(tenant.scope, sql`select name from shopping_lists order by name`)).toEqual(names)
    const { [role]: own = [], ...shared } = await rightsIn(url)
    expect(shared).toEqual(before)
    // What is listed in role.ts is what the migrations gave until then, and what housekeeping was given since.
    const thing = (right: string) => right.split(' ')[0]
    const things = new Set(before['minimart_app']?.map(thing))
    expect(own.filter((right) => things.has(thing(right)))).toEqual(
      [...(before['minimart_app'] ?? []), 'items DELETE'].toSorted(),
    )
    expect(own).toEqual(expect.arrayContaining(['installation SELECT', 'retire_shared_role EXECUTE']))
    const tables = await connect(url)`select relname::text as name from pg_class
      where relnamespace = 'public'::regnamespace and relkind = 'r'`
    for (const { name } of tables) expect(own).toContain(`${name} SELECT`)
    await db.close()
  })

  test('housekeeping takes the shared role’s rights a day after its last session was seen, not before', async () => {
    const { url, older, tenant } = await upgraded('retiring')
    const other = await upgraded('not_upgraded_yet')
    const log = recordingLogger()
    const db = await openDatabase(optionsFor(url))
    const housekeeping = createHousekeeping({
      config: { eventRetentionDays: 30, auditRetentionDays: 365, auditRefusalsRetentionDays: 30 },
      db,
      store: createTableStore(db),
      mailer: { deliver: async () => true },
      limits: { mayMail: async () => true },
      keptBytes: { count: async () => undefined },
      log,
    })
    const owner = connect(url)
    const age = (hours: number) =>
      owner`update installation set shared_role_seen_at = now() - make_interval(hours => ${hours})`
    const run = async () => expect((await housekeeping.run()).outcome).toBe('done')

    await age(25)
    await run()
    // It is being used, which is remembered.
    expect(Date.parse((await withConnection(url, sharedRoleSeenAt)) ?? '')).toBeGreaterThan(
      Date.now() - 3_600_000,
    )
    await addList(older, tenant)
    await older.end({ timeout: 2 })
    await age(23)
    await run()
    expect(Object.keys(await rightsIn(url))).toContain('minimart_app')
    expect(await withConnection(url, sharedRoleSeenAt)).not.toBeNull()

    await age(25)
    await run()
    expect(Object.keys(await rightsIn(url))).toEqual([await roleIn(url)])
    expect(await withConnection(url, sharedRoleSeenAt)).toBeNull()
    expect(log.messages().filter((message) => message.includes('minimart_app'))).toHaveLength(1)
    const late = serveAsBefore(url)
    clients.push(late)
    expect(await answerOf(listsIn(late))).toBe(refused)
    await createList(db, tenant)
    await run()
    await db.close()
    // Another database still needs the role.
    await addList(other.older, other.tenant)
  })

  test('it goes at once when asked to, and altogether once no database needs it', async () => {
    const { url, older, tenant } = await upgraded('finishing')
    const db = await openDatabase(optionsFor(url))
    await addList(older, tenant)
    expect(await withConnection(url, revokeSharedRole)).toBe(true)
    expect(await withConnection(url, revokeSharedRole)).toBe(false)
    expect(await answerOf(listsIn(older))).toBe(refused)
    await createList(db, tenant)
    await db.close()
    const needing = await admin`select datname from pg_shdepend join pg_database on pg_database.oid = dbid
      where refobjid = to_regrole('minimart_app') group by 1`
    expect(needing.length).toBeGreaterThan(0)
    for (const { datname } of needing) {
      await (await openDatabase(optionsFor(urlFor(datname, datname)))).close()
      // From PostgreSQL 16 on the last user may not drop what the first has created.
      await withConnection(urlFor('postgres', datname), revokeSharedRole)
    }
    expect(await answerOf(admin`select from pg_roles where rolname = 'minimart_app'`)).toEqual([])
  })

  test('the service cannot take the shared role’s rights outside housekeeping', async () => {
    const { url } = await upgraded('injected')
    const db = await openDatabase(optionsFor(url))
    await connect(url)`update installation set shared_role_seen_at = now() - interval '2 days'`
    expect(await db.write('system', sql`select retire_shared_role() as retired`)).toEqual([
      { retired: false },
    ])
    expect(await failureOf(db.write('housekeeping', sql`select revoke_shared_role()`))).toMatchObject({
      sqlState: refused,
    })
    expect(
      await failureOf(db.write('system', sql`update installation set id = gen_random_uuid()`)),
    ).toMatchObject({
      sqlState: refused,
    })
    await db.close()
  })

  test.each(['finished', 'not finished'])(
    'reverted (%s), the release before works as before',
    async (state) => {
      const user = state === 'finished' ? 'reverted_late' : 'reverted_early'
      const { url, tenant } = await upgraded(user)
      const before = await rightsIn(url)
      await (await openDatabase(optionsFor(url))).close()
      if (state === 'finished') await withConnection(url, revokeSharedRole)
      const added = migrations.length - firstWithoutIt
      await withConnection(url, (connection) => migrateDown(connection, { log: silentLog }, added))
      expect(await rightsIn(url)).toEqual(before)
      const older = serveAsBefore(url)
      clients.push(older)
      await older`select set_config('app.tenant_id', ${tenant.id}, false)`
      await addList(older, tenant)
      expect(await answerOf(listsIn(older))).toEqual([{ name: 'Older' }])

      // All the way, and up again: still the shared role's, as its release would have it, and then the database's own.
      await withConnection(url, (connection) => migrateDown(connection, { log: silentLog }, 2))
      await withConnection(url, (connection) => migrateUp(connection, { log: silentLog }))
      const after = await rightsIn(url)
      expect(after['minimart_app']).toEqual(before['minimart_app'] ?? [])
      expect(Object.keys(after)).toContain(await roleIn(url))
    },
  )
})
