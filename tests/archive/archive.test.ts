/** Tenant archives: nothing is lost between the two backends, and an imported tenant works immediately. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { getTableColumns, getTableName, is, sql } from 'drizzle-orm'
import { PgTable } from 'drizzle-orm/pg-core'
import { archiveTables } from '../../src/archive/format.ts'
import * as schema from '../../src/db/schema.ts'
import {
  content,
  emptyArchive,
  entriesOf,
  exportText,
  importText,
  rowsOf,
  sealed,
  sealedText,
} from '../support/archive.ts'
import { asBearer, login, refresh, resetTokenFor } from '../support/auth.ts'
import { createClient } from '../support/client.ts'
import { eventsOf } from '../support/history.ts'
import {
  addItem,
  asPerson,
  goodPassword,
  makeList,
  makeTenant,
  type Person,
  superAdmin,
} from '../support/people.ts'
import { describeBackends, describeFull, sharedServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'
import { type LivedIn, liveIn, newPassword } from './lived-in.ts'

test('an archive has every column of every tenant table, except those left out on purpose', () => {
  const leftOut = [
    ...['revocations.at', 'revocations.transaction_id', 'tenants.kept_bytes'],
    ...['text_bytes', 'text_seq', 'event_bytes', 'counted_seq'].map((column) => `shopping_lists.${column}`),
  ]
  const isOfTenant = (column: string) => column !== 'tenant_id'
  const columns = Object.values(schema)
    .filter((value) => is(value, PgTable))
    .filter((table) => !['store_entries', 'installation', 'mail_outbox'].includes(getTableName(table)))
    .flatMap((table) =>
      Object.values(getTableColumns(table))
        .filter(({ name }) => isOfTenant(name))
        .map(({ name }) => `${getTableName(table)}.${name}`),
    )
  const archived = Object.entries(archiveTables).flatMap(([table, entry]) =>
    Object.keys(entry.columns).map((column) => `${table}.${column}`),
  )
  expect([...archived, ...leftOut].sort()).toEqual(columns.sort())
})

describeFull('a tenant moved from the embedded database into a running PostgreSQL service', () => {
  let small: TestServer
  let large: TestServer
  let moved: LivedIn
  let archive: string
  let again: string
  let there: Person
  let lastRowsAt: number

  beforeAll(async () => {
    ;[small, large] = await Promise.all([sharedServer('embedded'), sharedServer('full')])
    moved = await liveIn(small)
    archive = await exportText(small.running.deps.db, moved.slug, { credentials: true })
    await importText(large.running.deps.db, archive, {
      onRows() {
        lastRowsAt = Date.now()
      },
    })
    again = await exportText(large.running.deps.db, moved.id, { credentials: true })
    there = await asPerson(large, moved.ann.email, goodPassword)
  })
  afterAll(closeSockets)

  test('is exported byte for byte as it was imported, and again after moving back', async () => {
    expect(rowsOf(entriesOf(archive), 'items').length).toBeGreaterThan(1200)
    expect(content(again)).toBe(content(archive))
    // The embedded server still has the tenant and its people, so they return under ids that sort to the same place.
    const otherId = (id: string) => `${id.slice(0, -1)}${id.endsWith('0') ? '1' : '0'}`
    const id = otherId(moved.id)
    const people = rowsOf(entriesOf(again), 'users').map((user) => String(user['id']))
    const back = [moved.id, ...people]
      .reduce((text, one) => text.replaceAll(one, otherId(one)), again)
      .replaceAll('@shop.example', '@moved.example')
      .replaceAll(`"slug":"${moved.slug}"`, `"slug":"back-${id}"`)
    await importText(small.running.deps.db, sealedText(back))
    const there = await exportText(small.running.deps.db, id, { credentials: true })
    expect(content(there)).toBe(content(sealedText(back)))
  })

  test('returns its lists byte for byte as before, deleted ones and pages included', async () => {
    for (const path of [
      ...[moved.long, moved.old].map((id) => `/shopping-lists/${id}`),
      '/shopping-lists',
      '/shopping-lists?deleted=true',
      `/shopping-lists/${moved.long}/members`,
    ])
      expect((await there.api.get(path)).text).toBe((await moved.ann.api.get(path)).text)
    expect((await there.api.post(`/shopping-lists/${moved.deleted}/restore`)).status).toBe(200)
  })

  test('counts what it brings: the text of each list at once, its events in the background', async () => {
    await large.running.keptBytes.count()
    const lists = await large.running.deps.db.read(
      { tenantId: moved.id },
      sql`select l.id from shopping_lists l where l.tenant_id = ${moved.id} and (l.text_seq, l.text_bytes, l.event_bytes)
        is distinct from (l.seq, (select coalesce(sum(octet_length(concat(name, unit, note, category))), 0)
            from items where list_id = l.id and deleted_at is null),
          (select coalesce(sum(octet_length(payload::text)), 0) from list_events where list_id = l.id))`,
    )
    expect(lists).toEqual([])
  })

  test('replays its events, over the API and to subscribers with an old `since`, and continues their numbering', async () => {
    const events = await eventsOf(moved.ann, moved.long)
    expect(await eventsOf(there, moved.long)).toEqual(events)
    expect((await there.api.get(`/shopping-lists/${moved.old}/events?since=0`)).body.code).toBe(
      'events_expired',
    )
    const socket = await openSocket(large, there.accessToken)
    const since = events.length - 5
    expect((await socket.follow(moved.long, since)).payload).toMatchObject({
      seq: events.length,
      recovered: true,
    })
    await addItem(there, moved.long, { name: 'First one here' })
    await until(() => socket.seqs(moved.long).length === 6, 'five old events and a new one')
    expect(socket.seqs(moved.long)).toEqual([1, 2, 3, 4, 5, 6].map((n) => since + n))
  })

  test('keeps its passwords, and keeps out those who may not sign in', async () => {
    expect((await login(large, moved.ben.email, newPassword)).status).toBe(200)
    expect((await login(large, moved.ben.email, goodPassword)).status).toBe(401)
    const codes = await Promise.all(
      rowsOf(entriesOf(archive), 'users')
        .filter(({ is_active, email_verified }) => !is_active || !email_verified)
        .map(async ({ email }) => (await login(large, email)).body.code),
    )
    expect(codes.sort()).toEqual(['account_deactivated', 'email_not_verified'])
  })

  test('carries no sessions over, and revoked tokens stay revoked in running instances', async () => {
    expect((await refresh(large, moved.ann.refreshToken)).status).toBe(401)
    await until(
      async () => (await asBearer(large, moved.deadToken).get('/auth/me')).status === 401,
      'the revoked token to be refused',
      2000,
    )
    // Running instances of the release before read only the last half minute, however long the import took.
    const [learnt] = await large.running.deps.db.read(
      { tenantId: moved.id },
      sql<{ at: string }>`select wire_time(min(at)) as at from revocations where tenant_id = ${moved.id}`,
    )
    expect(Date.parse(learnt?.at ?? '')).toBeGreaterThanOrEqual(lastRowsAt)
  })

  test('keeps invitations: redeemed ones stay redeemed, open ones work once', async () => {
    const accept = async (email: string, password: string, token: string) =>
      (await (await asPerson(large, email, password)).api.post('/invitations/accept', { token })).status
    expect(await accept(moved.ben.email, newPassword, moved.redeemed)).toBe(409)
    expect(await accept(moved.eve.email, goodPassword, moved.open)).toBe(200)
    expect(await accept(moved.eve.email, goodPassword, moved.open)).toBe(409)
  })

  test('is recorded in the platform’s audit log, and keeps its own audit log', async () => {
    const root = await superAdmin(large)
    const { data } = (await root.api.get(`/audit?target_id=${moved.id}`)).body
    expect(data).toMatchObject([{ action: 'tenant.exported' }, { action: 'tenant.imported', actor_id: null }])
    const admin = await asPerson(large, moved.admin.email, goodPassword)
    const trail = (await admin.api.get('/audit?action=tenant.exported')).body.data
    expect(trail).toMatchObject([{ address: null, details: { credentials: true } }])
    expect((await admin.api.get('/audit?action=tenant.imported')).body.data).toEqual([])
  })
})

describeFull('an archive without credentials', () => {
  test('holds no hash; users cannot sign in until they reset their password', async () => {
    const [small, large] = await Promise.all([sharedServer('embedded'), sharedServer('full')])
    const { id, admin } = await makeTenant(small)
    const archive = await exportText(small.running.deps.db, id)
    expect(archive).not.toContain('argon2')
    expect(archive).not.toContain('password_hash')
    await importText(large.running.deps.db, archive)
    expect(content(await exportText(large.running.deps.db, id))).toBe(content(archive))
    for (const password of [goodPassword, '', 'x'])
      expect((await login(large, admin.email, password)).body.code).toBe('invalid_credentials')
    const token = await resetTokenFor(large, admin.email)
    const reset = { token, new_password: newPassword }
    expect((await createClient(large.url).post('/auth/reset-password', reset)).status).toBe(204)
    expect((await login(large, admin.email, newPassword)).status).toBe(200)
  })
})

describeFull('an archive of format 1', () => {
  test('which knew no action ids, brings a history that can be followed by position', async () => {
    const [small, large] = await Promise.all([sharedServer('embedded'), sharedServer('full')])
    const { id, admin } = await makeTenant(small)
    const path = `/shopping-lists/${(await makeList(admin)).id}`
    await admin.api.post(`${path}/items`, { items: [{ name: 'Milk' }, { name: 'Bread' }] })
    const entries = entriesOf(await exportText(small.running.deps.db, id, { credentials: true }))
    Object.assign(entries[0] ?? {}, { version: 1 })
    for (const entry of entries)
      for (const column of ['action_id', 'mark', 'mark_seq']) Reflect.deleteProperty(entry, column)
    await importText(large.running.deps.db, sealed(entries))
    const there = await asPerson(large, admin.email, goodPassword)
    const { position } = (await there.api.get(path)).body
    expect(position).toMatch(/^2\.[0-9a-f]{8}$/)
    const { data } = (await there.api.get(`${path}/events`)).body
    expect(data).toMatchObject([{ action_id: null }, { action_id: null, position }])
    await there.api.post(`${path}/items`, { name: 'Butter' })
    const rest = await there.api.get(`${path}/events?since=${data[0].position}`)
    expect(rest.body).toMatchObject({ data: [{ seq: 2, position }, { seq: 3 }], complete: true })
    expect(rest.body.position).toBe(rest.body.data[1].position)
  })
})

describeFull('an export while people write', () => {
  test('is a consistent snapshot of the tenant', async () => {
    const server = await sharedServer('full')
    const { id, admin } = await makeTenant(server)
    const list = await makeList(admin)
    await addItem(admin, list.id, { name: 'before' })
    const { db } = server.running.deps
    let text = ''
    await exportText(db, id, {
      async write(piece) {
        if (piece.includes('"table":"shopping_lists"')) await addItem(admin, list.id, { name: 'meanwhile' })
        text += piece
      },
    })
    expect(text).toContain('before')
    expect(text).not.toContain('meanwhile')
    expect((await admin.api.get(`/shopping-lists/${list.id}`)).body.items).toHaveLength(2)
    await importText((await sharedServer('embedded')).running.deps.db, text)
  })
})

describeBackends('an export', (backend) => {
  test('finds a tenant by slug or id, and does not export the platform', async () => {
    const server = await sharedServer(backend)
    const { db } = server.running.deps
    const { id } = await makeTenant(server, 'Known by two names')
    const [first] = entriesOf(await exportText(db, id.toUpperCase()))
    expect(first).toMatchObject({
      minimart: 'archive',
      version: 2,
      tenant: { id, name: 'Known by two names' },
    })
    expect(entriesOf(await exportText(db, first?.['tenant'].slug))[0]?.['tenant'].id).toBe(id)
    for (const none of ['minimart-platform', '00000000-0000-7000-8000-000000000000', 'nobody'])
      await expect(exportText(db, none)).rejects.toThrow('no tenant')
  })

  test('of the release before, which had fewer tables, is imported', async () => {
    const { db } = (await sharedServer(backend)).running.deps
    const id = Bun.randomUUIDv7()
    const entries = entriesOf(emptyArchive({ id, slug: `before-${id}` }))
    const { spent_invitations, refusal_counts, ...rows } = entries.at(-1)?.['rows'] ?? {}
    expect([spent_invitations, refusal_counts]).toEqual([0, 0])
    Object.assign(entries.at(-1) ?? {}, { rows })
    const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')
    expect((await importText(db, text)).tenant.id).toBe(id)
  })

  test('that cannot be recorded in the audit log is left without a trailer, so it cannot be imported', async () => {
    const { db } = (await sharedServer(backend)).running.deps
    const { id } = await makeTenant(await sharedServer(backend))
    let text = ''
    const write = async (piece: string) => {
      text += piece
    }
    const record = () => Promise.reject(new Error('no room in the trail'))
    await expect(exportText(db, id, { write, record })).rejects.toThrow('no room in the trail')
    expect(text).toContain('"table":"audit_log"')
    expect(text).not.toContain('"minimart":"end"')
  })

  test('holds no secret of the installation and no row of another tenant', async () => {
    const server = await sharedServer(backend)
    const { db } = server.running.deps
    const [ours, theirs] = [await makeTenant(server), await makeTenant(server)]
    await makeList(theirs.admin, 'Theirs alone')
    const archive = await exportText(db, ours.id, { credentials: true })
    expect(archive).not.toContain(theirs.id)
    expect(archive).not.toContain('Theirs alone')
    expect(archive).not.toContain(ours.admin.refreshToken)
    expect(archive).not.toContain(server.environment['JWT_SECRET_KEY'] ?? 'none')
  })
})
