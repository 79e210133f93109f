/** The embedded database runs checkpoints while it serves, so that its WAL stays bounded. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import type { Database } from '../../../src/db/database.ts'
import { openDatabase } from '../../../src/db/open.ts'
import { fillDataDir } from '../../support/data-dir.ts'
import { until } from '../../support/until.ts'
import { createTenant, optionsFor } from '../setup.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'minimart-checkpoints-'))
  await fillDataDir(folder)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const lastCheckpoint = async (db: Database): Promise<string> => {
  const [row] = await db.read(
    'system',
    sql<{ at: string }>`select checkpoint_lsn as at from pg_control_checkpoint()`,
  )
  return row?.at ?? ''
}

test('writes are checkpointed automatically; without writes there is no checkpoint', async () => {
  const db = await openDatabase({ ...optionsFor(null, folder), checkpointEveryMs: 50 })
  try {
    const before = await lastCheckpoint(db)
    await createTenant(db)
    const after = await until(async () => {
      const at = await lastCheckpoint(db)
      return at !== before && at
    }, 'a checkpoint')
    const turns = { left: 5 }
    await until(
      async () => {
        await db.read('system', sql`select 1`)
        return --turns.left < 0
      },
      'some turns',
      5000,
    )
    expect(await lastCheckpoint(db)).toBe(after)
  } finally {
    await db.close()
  }
})
