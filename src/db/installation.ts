/** What tells this installation from others that share its Redis. */
import { createHash } from 'node:crypto'
import { sql } from 'drizzle-orm'
import type { Database } from './database.ts'

export interface Installation {
  /**
   * 16 hex digits, from the id drawn when the database was set up and the database's name: a copy under another name
   * has another one. It does not depend on any secret, so it outlives their rotation.
   */
  readonly name: string
  /**
   * Whether an earlier release served this database: its state is looked for in Redis, and its instances may still run
   * beside this one. To be removed with the next release; the compiler then names what goes with it.
   */
  readonly isUpgraded: boolean
}

/** @throws AppError database_unavailable */
export async function readInstallation(db: Database): Promise<Installation> {
  const [row] = await db.read('system', selectInstallation)
  if (!row) throw new Error('The table installation has lost its row; restore it from a backup')
  const { id, database, upgradedAs } = row
  const digest = createHash('sha256').update(`${id}\n${database}`).digest('hex')
  return { name: digest.slice(0, 16), isUpgraded: upgradedAs === database }
}

const selectInstallation = sql<{ id: string; database: string; upgradedAs: string | null }>`
  select id, current_database()::text as database, upgraded_as as "upgradedAs" from installation`
