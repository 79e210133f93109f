/** Archives that are truncated, altered, made up or in conflict with existing data are refused as a whole, with the reason. */

import { beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { emptyArchive, entriesOf, exportText, importText, rowsOf, sealed } from '../support/archive.ts'
import { addItem, join, makeList, makeTenant, makeUser, superAdmin, type Tenant } from '../support/people.ts'
import {
  describeBackends,
  oncePerBackend,
  sharedServer,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { changes } from './changes.ts'

/** An archive from the embedded server, for either backend to refuse. */
const madeOnce = oncePerBackend(async () => {
  const server = await startServer('embedded')
  try {
    const tenant = await makeTenant(server, 'Refused')
    const [ann, ben] = await Promise.all([makeUser(server, tenant), makeUser(server, tenant)])
    const list = await makeList(ann)
    await join(ann, list.id, ben)
    for (const name of ['milk', 'bread', 'eggs']) await addItem(ann, list.id, { name })
    return await exportText(server.running.deps.db, tenant.id, { credentials: true })
  } finally {
    await server.stop()
  }
})

describeBackends('an import refuses', (backend) => {
  let server: TestServer
  let archive: string

  beforeAll(async () => {
    server = await sharedServer(backend)
    archive = await madeOnce('embedded')
  })

  const tenantOf = (text: string): string => entriesOf(text)[0]?.['tenant'].id
  const lines = () => archive.split(/(?<=\n)/)

  /** Expects a refusal whose message quotes no value of a row, and that nothing was imported. */
  async function refused(text: string | Uint8Array, expected: RegExp): Promise<void> {
    const error: unknown = await importText(server.running.deps.db, text).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ name: 'OperatorError', message: expect.stringMatching(expected) })
    expect(String(error)).not.toMatch(/milk|argon2|shoe|secrets|capitals|Ann@/)
    const { db } = server.running.deps
    const tenantId = tenantOf(archive)
    const left = await db.read(
      { tenantId },
      sql`
      select id from tenants where id = ${tenantId} union all select id from users where tenant_id = ${tenantId}
      union all select id from items where tenant_id = ${tenantId} union all select id from audit_log where tenant_id = ${tenantId}`,
    )
    expect(left).toEqual([])
  }

  test.each(changes)('%s', async (_what, change, expected) => {
    const entries = entriesOf(archive)
    change(entries)
    await refused(sealed(entries), expected)
  })

  test('an archive truncated anywhere', async () => {
    await refused('', /empty/)
    await refused(lines().slice(0, -1).join(''), /cut off: its end is missing after line \d+/)
    await refused(lines().slice(0, 1).join(''), /cut off: its end is missing after line 1/)
    await refused(archive.slice(0, -1), /cut off: line \d+ breaks off/)
    await refused(archive.slice(0, Math.floor(archive.length / 2)), /cut off: line \d+ breaks off/)
  })

  test('an archive that was altered, extended or concatenated, by its checksum', async () => {
    await refused(archive.replace('"milk"', '"silk"'), /changed after it was written/)
    await refused(archive.replaceAll('\n', '\r\n'), /changed after it was written/)
    await refused(lines().toSpliced(-2, 1).join(''), /numbers of rows do not match/)
    await refused(`${archive}{"table":"users"}\n`, /comes after the end/)
    // An incomplete UTF-8 sequence.
    await refused(Buffer.concat([Buffer.from(archive), Buffer.from([0xe2, 0x82])]), /not UTF-8 text/)
    await refused(archive.replace('"name":', 'name:'), /not a MiniMart archive|not a JSON object/)
    await refused(lines().toSpliced(4, 1, 'milk\n').join(''), /Line 5 .*not a JSON object/)
    await refused('PK\u0003\u0004\n', /not a MiniMart archive/)
    await refused('x'.repeat(1_100_000), /Line 1 .*too long/)
  })

  test('a tenant that exists already, which stays as it is', async () => {
    const { db } = server.running.deps
    const own = await makeTenant(server)
    const before = await exportText(db, own.id, { credentials: true })
    await expect(importText(db, before)).rejects.toThrow(/is in this installation already/)
    await expect(importText(db, before, { dryRun: true })).rejects.toThrow(/is in this installation already/)
    const after = rowsOf(entriesOf(await exportText(db, own.id, { credentials: true })), 'users')
    expect(after).toEqual(rowsOf(entriesOf(before), 'users'))
  })

  test('a slug that is taken, until it is given another', async () => {
    const { db } = server.running.deps
    const own = await makeTenant(server)
    const { slug } = entriesOf(await exportText(db, own.id))[0]?.['tenant'] ?? {}
    const id = crypto.randomUUID()
    const text = emptyArchive({ id, slug })
    await expect(importText(db, text)).rejects.toThrow(
      /here already has the slug .*: choose another one with --slug/,
    )
    const moved = await importText(db, text, { slug: `other-${id}` })
    expect(moved.tenant.slug).toBe(`other-${id}`)
    expect(entriesOf(await exportText(db, `other-${id}`))[0]?.['tenant'].id).toBe(id)
  })

  test('email addresses that already have an account, naming a few and their count', async () => {
    const { db } = server.running.deps
    const own: Tenant = await makeTenant(server)
    const root = await superAdmin(server)
    const entries = entriesOf(archive)
    const users = rowsOf(entries, 'users')
    Object.assign(users[0] ?? {}, { email: own.admin.email })
    Object.assign(users[2] ?? {}, { email: root.email })
    const error: unknown = await importText(db, sealed(entries)).catch((reason: unknown) => reason)
    expect(String(error)).toContain('Of the 3 users in the archive, 2 have addresses')
    expect(String(error)).toContain(own.admin.email)
    expect(String(error)).toContain(root.email)
    expect(String(error)).not.toContain(users[1]?.['email'])
  })

  test('nothing of a whole archive, and a dry run keeps nothing', async () => {
    const { db } = server.running.deps
    const tried = await importText(db, archive, { dryRun: true })
    expect(tried.rows.items).toBe(3)
    await expect(exportText(db, tried.tenant.id)).rejects.toThrow('no tenant')
    const root = await superAdmin(server)
    expect((await root.api.get(`/audit?target_id=${tried.tenant.id}`)).body.data).toEqual([])
    await importText(db, archive)
    expect(entriesOf(await exportText(db, tried.tenant.id, { credentials: true })).length).toBe(
      entriesOf(archive).length,
    )
  })
})
