/** Deletes other expired rows, and reports it in metrics. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { ConfigError, loadConfig } from '../../../src/config/config.ts'
import { start } from '../../../src/server.ts'
import { recordingLogger } from '../../support/log.ts'
import { addItem, makeList, makeTenant, type Tenant } from '../../support/people.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startServer,
  type TestServer,
} from '../../support/server.ts'
import { until } from '../../support/until.ts'
import { housekeepingOf, roundIn, rowsOf } from './setup.ts'

/** As of now: what is served may be a second old. */
const figuresOf = async ({ running }: Pick<TestServer, 'running'>): Promise<(name: string) => number> => {
  const text = await running.deps.metrics.text()
  return (name) => {
    const line = text.split('\n').find((each) => each.startsWith(`minimart_housekeeping_${name} `))
    return Number(line?.split(' ')[1] ?? Number.NaN)
  }
}

describeBackends('expired rows', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await startServer(backend)
    tenant = await makeTenant(server)
  })
  afterAll(() => server.stop())

  const subjects = (statement: ReturnType<typeof sql<{ subject: string }>>) =>
    rowsOf(server, 'housekeeping', statement).then((rows) => rows.map(({ subject }) => subject))

  test('of the store, the audit trail and the revocations are deleted and counted; younger ones stay', async () => {
    const agesOf = async (
      table: string,
      statement: (age: number, name: string) => ReturnType<typeof sql>,
    ) => {
      for (const age of [1, 364, 365, 366, 367, 400]) {
        const id = `00000000-0000-7000-8000-${String(age).padStart(12, '0')}`
        await rowsOf(server, table === 'audit' ? 'housekeeping' : 'system', statement(age, id))
      }
    }
    const at = (age: number) =>
      sql`clock_timestamp() - make_interval(days => ${age}::int) + interval '1 hour'`
    await agesOf(
      'audit',
      (age, id) =>
        sql`insert into audit_log (tenant_id, id, action, at) values (${tenant.id}, ${id}, 'test', ${at(age)})`,
    )
    await agesOf(
      'revocations',
      (age, id) => sql`insert into revocations (tenant_id, subject, minimum_epoch, at)
        values (${tenant.id}, ${id}, 1, ${at(age)})`,
    )
    await agesOf(
      'store',
      (age, id) => sql`insert into store_entries (key, value, expires_at)
        values (${`${age} ${id}`}, 'x', ${age < 366 ? sql`clock_timestamp() + interval '1 hour'` : at(age)})`,
    )
    const before = await figuresOf(server)
    const round = await server.running.housekeeping.run()
    expect(round).toMatchObject({
      outcome: 'done',
      removed: { events: 0, store_entries: 3, audit_entries: 3, revocations: 2, unverified_users: 0 },
    })
    const ages = (names: string[]) => names.map((name) => Number(name.slice(-3))).sort((a, b) => a - b)
    expect(
      ages(await subjects(sql`select id::text as subject from audit_log where action = 'test'`)),
    ).toEqual([1, 364, 365])
    expect(
      ages(await subjects(sql`select subject::text from revocations where tenant_id = ${tenant.id}`)),
    ).toEqual([1, 364, 365, 366])
    const entries = await rowsOf(
      server,
      'system',
      sql<{ key: string }>`select key from store_entries where value = 'x'`,
    )
    expect(ages(entries.map(({ key }) => key))).toEqual([1, 364, 365])

    const after = await figuresOf(server)
    const grown = (name: string) => after(name) - before(name)
    expect(grown('removed_total{what="audit_entries"}')).toBe(3)
    expect(grown('removed_total{what="store_entries"}')).toBe(3)
    expect(grown('removed_total{what="revocations"}')).toBe(2)
    expect(grown('removed_total{what="events"}')).toBe(0)
    expect(grown('removed_total{what="unverified_users"}')).toBe(0)
    expect(grown('runs_total{outcome="done"}')).toBe(1)
    expect(grown('runs_total{outcome="elsewhere"}') + grown('runs_total{outcome="failed"}')).toBe(0)
    expect(Math.abs(after('last_success_timestamp_seconds') - Date.now() / 1000)).toBeLessThan(60)
    expect(after('duration_seconds')).toBeCloseTo(round.seconds)
    expect(
      server.log.lines.filter(({ message }) => message === 'housekeeping').map(({ fields }) => fields),
    ).toEqual([{ ...round.removed, announced_removals: 0 }])
  })

  test('of refused attempts go sooner, counted ones too, and those of spent invitations when none can be alive', async () => {
    const id = (age: number) => `00000000-0000-7000-9000-${String(age).padStart(12, '0')}`
    const at = (age: number) =>
      sql`clock_timestamp() - make_interval(days => ${age}::int) + interval '1 hour'`
    for (const age of [1, 29, 30, 31, 32, 400]) {
      await rowsOf(
        server,
        'housekeeping',
        sql`insert into audit_log (tenant_id, id, action, at)
          values (${tenant.id}, ${id(age)}, 'auth.test_failed', ${at(age)})`,
      )
      await rowsOf(
        server,
        'system',
        sql`insert into refusal_counts (tenant_id, id, hour, subject, action, reason, count, listed)
          values (${tenant.id}, ${id(age)}, ${at(age)}, '192.0.2.0/24', 'auth.test_failed', '', 1, true)`,
      )
    }
    for (const age of [1, 365, 366, 367, 400])
      await rowsOf(
        server,
        { tenantId: tenant.id },
        sql`insert into spent_invitations (tenant_id, invitation_id, at) values (${tenant.id}, ${id(age)}, ${at(age)})`,
      )
    expect((await housekeepingOf(server, { batchSize: 2 }).run()).removed).toMatchObject({
      audit_refusals: 6,
      spent_invitations: 2,
      audit_entries: 0,
    })
    const ages = (names: string[]) => names.map((name) => Number(name.slice(-3))).sort((a, b) => a - b)
    for (const [table, name, kept] of [
      ['audit_log', 'id', [1, 29, 30]],
      ['refusal_counts', 'id', [1, 29, 30]],
      ['spent_invitations', 'invitation_id', [1, 365, 366]],
    ] as const) {
      const column = sql.raw(`${name}::text`)
      const left = await subjects(
        sql`select ${column} as subject from ${sql.raw(table)} where ${column} like '%-9000-%'`,
      )
      expect([table, ages(left)]).toEqual([table, [...kept]])
    }
  })

  test('of deleted items are kept a day longer than events, so that their ids are known; then those are free', async () => {
    const { api } = tenant.admin
    const { id: listId } = await makeList(tenant.admin)
    const path = `/shopping-lists/${listId}/items`
    const ids = Object.fromEntries([1, 30, 31, 32, 400].map((age) => [age, Bun.randomUUIDv7()]))
    const add = async (id: string | undefined) => {
      const { status, body } = await api.post(path, { id, name: 'Milk' })
      return `${status} ${body.code ?? ''}`
    }
    for (const [age, id] of Object.entries(ids)) {
      expect(await add(id)).toBe('201 ')
      expect((await api.delete(`/items/${id}`)).status).toBe(204)
      await rowsOf(
        server,
        { tenantId: tenant.id },
        sql`update items set deleted_at = clock_timestamp() - make_interval(days => ${age}::int) + interval '1 hour'
          where id = ${id}`,
      )
    }
    const { id: old } = await addItem(tenant.admin, listId)
    expect((await housekeepingOf(server, { batchSize: 1 }).run()).removed.deleted_items).toBe(2)
    for (const age of [1, 30, 31]) expect([age, await add(ids[age])]).toEqual([age, '409 id_deleted'])
    for (const age of [32, 400]) expect([age, await add(ids[age])]).toEqual([age, '201 '])
    // In a year the others have gone, but what is on the list stays, and so does what was deleted a moment ago.
    expect((await api.delete(`/items/${ids[400]}`)).status).toBe(204)
    expect((await roundIn(server, 400)).removed.deleted_items).toBe(2)
    expect(await add(ids[400])).toBe('409 id_deleted')
    const { body } = await api.get(`/shopping-lists/${listId}`)
    expect(body.items.map(({ id }: { id: string }) => id).toSorted()).toEqual([old, ids[32] ?? ''].toSorted())
  })

  test('never include the last day of the audit trail, even when the clock is a year off', async () => {
    await rowsOf(
      server,
      'housekeeping',
      sql`insert into audit_log (tenant_id, id, action) values (${tenant.id}, gen_random_uuid(), 'fresh'),
        (${tenant.id}, gen_random_uuid(), 'auth.fresh_failed')`,
    )
    await roundIn(server, 400)
    expect(
      await subjects(
        sql`select action as subject from audit_log
          where action in ('fresh', 'test', 'auth.fresh_failed') order by 1`,
      ),
    ).toEqual(['auth.fresh_failed', 'fresh', 'test'])
  })

  test('give housekeeping no way to change a tenant, and nobody else a way to delete a user', async () => {
    const renamed = rowsOf(server, 'housekeeping', sql`update tenants set name = 'x' where id = ${tenant.id}`)
    expect(await renamed.catch((error: unknown) => String(error))).toContain('42501')
    // Nor can housekeeping delete a verified user.
    for (const scope of ['system', 'housekeeping', { tenantId: tenant.id }] as const)
      expect(
        await rowsOf(server, scope, sql`delete from users where tenant_id = ${tenant.id} returning id`),
      ).toEqual([])
    // An item's row goes by housekeeping alone, once the item was deleted a day ago.
    for (const scope of ['system', 'housekeeping', { tenantId: tenant.id }] as const)
      expect(
        await rowsOf(server, scope, sql`delete from items where tenant_id = ${tenant.id} returning id`),
      ).toEqual([])
    expect((await tenant.admin.api.get('/users')).body.data).toHaveLength(1)
  })
})

describeFull('a server', () => {
  test('runs housekeeping periodically from its start until it has stopped', async () => {
    const { environment } = await sharedServer('full')
    const log = recordingLogger()
    const housekeepingTimes = { firstAfterMs: 1, everyMs: 1 }
    const running = await start(loadConfig(environment), log, { housekeepingTimes })
    const { stop, housekeeping } = running
    try {
      await until(async () => (await figuresOf({ running }))('runs_total{outcome="done"}') > 2)
    } finally {
      await stop()
    }
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([])
    expect((await housekeeping.run()).outcome).toBe('failed')
    expect(log.lines.filter(({ level }) => level === 'warn')).toEqual([])
  })
})

describe('a revocation', () => {
  test('outlives every token: no setting allows one a lifetime of more than 365 days', () => {
    for (const tooLong of [
      { REFRESH_TOKEN_TTL_DAYS: '366' },
      { INVITATION_TTL_HOURS: String(365 * 24 + 1) },
      { ACCESS_TOKEN_TTL_MINUTES: '1441' },
    ])
      expect(() => loadConfig(tooLong)).toThrow(ConfigError)
  })
})
