import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import type { Database } from '../../../src/db/database.ts'
import { durability } from '../../../src/db/embedded/pglite.ts'
import { openDatabase } from '../../../src/db/open.ts'
import { OperatorError } from '../../../src/errors.ts'
import { fillDataDir } from '../../support/data-dir.ts'
import { createTenant, failureOf, optionsFor } from '../setup.ts'
import { describeDatabase } from '../suite.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'minimart-embedded-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const open = (name: string, deadlineMs = 10_000) =>
  openDatabase({ ...optionsFor(null, join(folder, name)), deadlineMs })

describe('the embedded database', () => {
  describeDatabase(async () => {
    await fillDataDir(join(folder, 'suite'))
    const db = await open('suite')
    return { db, end: () => db.close() }
  })

  describe('on its own', () => {
    let db: Database
    beforeAll(async () => {
      await fillDataDir(join(folder, 'own'))
      db = await open('own', 400)
    })
    afterAll(() => db.close())

    const insert = () => {
      const id = Bun.randomUUIDv7()
      return db.write('system', sql`insert into tenants (id, name, slug) values (${id}, 'T', ${id})`)
    }

    test('a write is fsynced before it is acknowledged', async () => {
      for (let round = 0; round < 20; round += 1) {
        const before = durability.syncs
        await insert()
        expect(durability.syncs).toBeGreaterThan(before)
      }
    })

    test('queued writes share a commit', async () => {
      const before = durability.syncs
      await Promise.all(Array.from({ length: 64 }, insert))
      expect(durability.syncs).toBeGreaterThan(before)
      expect(durability.syncs - before).toBeLessThan(20)
    })

    test('a transaction that never ends is cut off at the deadline', async () => {
      const tenant = await createTenant(db)
      const stuck = db.transaction(tenant.scope, async (query) => {
        await query(sql`update tenants set name = 'never'`)
        await new Promise(() => undefined)
      })
      const behind = db.read(tenant.scope, sql`select name from tenants`)
      expect(await failureOf(stuck)).toMatchObject({ code: 'database_unavailable' })
      await behind.catch(() => undefined)
      expect(await db.read(tenant.scope, sql`select name from tenants`)).toEqual([{ name: 'Tenant' }])
    })

    test('calls beyond the queue limit are refused with 503 immediately', async () => {
      const outcomes = await Promise.allSettled(
        Array.from({ length: 1100 }, () => db.read('system', sql`select 1 as one`)),
      )
      const refused = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' && outcome.reason.code === 'busy' ? [outcome.reason] : [],
      )
      expect(refused).toHaveLength(100)
    })

    test('its files are accessible to their owner only', async () => {
      const entries = await readdir(join(folder, 'own'), { recursive: true })
      const modes = await Promise.all(entries.map((entry) => stat(join(folder, 'own', entry))))
      expect(modes.filter(({ mode }) => (mode & 0o077) !== 0)).toEqual([])
      expect(entries.length).toBeGreaterThan(900)
    })

    test('opening its folder a second time is refused immediately', async () => {
      const error = await failureOf(open('own'))
      expect(error).toBeInstanceOf(OperatorError)
      expect(error).toMatchObject({ message: expect.stringContaining('Another MiniMart process') })
    })
  })

  test('kill -9 under writes: the folder is locked before, free after, and holds every acknowledged write', async () => {
    const name = 'killed'
    await fillDataDir(join(folder, name))
    const child = Bun.spawn([process.execPath, join(import.meta.dir, 'child.ts'), join(folder, name)], {
      stdout: 'pipe',
      stderr: 'inherit',
    })
    let acknowledged = 0
    for await (const chunk of child.stdout) {
      acknowledged += new TextDecoder().decode(chunk).split('\n').length - 1
      if (acknowledged > 100) break
    }
    expect(await failureOf(open(name))).toBeInstanceOf(OperatorError)
    child.kill('SIGKILL')
    await child.exited
    const db = await open(name)
    const [row] = await db.read<{ n: number }>(
      'system',
      sql`select count(*) as n from tenants where name = 'child'`,
    )
    await db.close()
    expect(row?.n).toBeGreaterThanOrEqual(acknowledged)
  }, 30_000)

  test('it can be closed and opened again', async () => {
    await fillDataDir(join(folder, 'again'))
    const first = await open('again')
    const tenant = await createTenant(first)
    await first.close()
    expect(await failureOf(first.read('system', sql`select 1`))).toMatchObject({
      code: 'database_unavailable',
    })
    const second = await open('again')
    expect(await second.read(tenant.scope, sql`select id from tenants`)).toEqual([{ id: tenant.id }])
    await second.close()
  }, 20_000)
})
