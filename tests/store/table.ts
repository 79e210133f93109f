/** The databases the table store is tested on. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { fillDataDir } from '../support/data-dir.ts'
import { recordingLogger } from '../support/log.ts'

const rest = { log: recordingLogger(), autoMigrate: true }

/** `close` also removes its folder. */
export async function embeddedDatabase(): Promise<Database> {
  const dataDir = await mkdtemp(join(tmpdir(), 'minimart-test-store-'))
  await fillDataDir(dataDir)
  const db = await openDatabase({ databaseUrl: null, dataDir, ...rest })
  return {
    ...db,
    close: async () => {
      await db.close()
      await rm(dataDir, { recursive: true })
    },
  }
}

export const postgresDatabase = (url: string): Promise<Database> =>
  openDatabase({ databaseUrl: url, dataDir: '', ...rest })

const refuse = (): Promise<never> => Promise.reject(new Error('Redis was to be used'))

/** For a store that keeps nothing in the database. */
export const noDatabase: Database = {
  kind: 'embedded',
  read: refuse,
  readUrgent: refuse,
  write: refuse,
  transaction: refuse,
  close: async () => undefined,
}
