/**
 * Creates the folder of the embedded database. It is filled under another name, fsynced and then renamed, so that an
 * interrupted first start leaves nothing that a later one would trust.
 */

import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ownerOnlyFolder } from '../../data-dir/data-dir.ts'
import { syncFolder, syncTree } from '../../data-dir/fsync.ts'
import { OperatorError } from '../../errors.ts'

/**
 * @param fill creates the database in an empty folder; it need not fsync
 * @throws OperatorError when the folder holds something other than a database
 */
export async function ensureDatabaseFolder(
  folder: string,
  fill: (empty: string) => Promise<void>,
): Promise<void> {
  if (existsSync(join(folder, 'PG_VERSION'))) return ownerOnlyFolder(folder)
  refuseForeign(folder)
  const unfinished = `${folder}.unfinished`
  rmSync(unfinished, { recursive: true, force: true })
  ownerOnlyFolder(unfinished)
  await fill(unfinished)
  await syncTree(unfinished)
  // Windows does not rename onto a folder, not even an empty one.
  rmSync(folder, { recursive: true, force: true })
  renameSync(unfinished, folder)
  syncFolder(dirname(folder))
}

function refuseForeign(folder: string): void {
  if (!existsSync(folder) || readdirSync(folder).length === 0) return
  throw new OperatorError(
    `${folder} holds files but no database. If a restore or a copy was interrupted, repeat it; ` +
      'otherwise move the folder away, and a new database is created.',
  )
}
