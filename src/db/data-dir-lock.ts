/**
 * Keeps a second process out of an embedded data folder, which PGlite does not.
 * The lock is SQLite's on an empty file, that is the operating system's (fcntl, LockFileEx): taken without a race,
 * gone with the process however it ends, and untroubled by reused process ids and by containers that share a volume.
 * A lock file with a pid in it has all of these troubles. Nothing else may open the file, since closing any handle
 * to it in this process would let the lock go.
 */
import { SQLiteError, Database as Sqlite } from 'bun:sqlite'
import { chmodSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { DatabaseRefused } from './errors.ts'

/** Another process holds the data folder. */
export class DataDirTaken extends DatabaseRefused {}

export interface DataDirLock {
  release(): void
}

/**
 * Makes the folder (0700) if it is not there and takes it for this process, at once or not at all.
 * @throws DataDirTaken when another process holds it
 */
export function lockDataDir(dataDir: string): DataDirLock {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const path = join(dataDir, 'lock')
  const file = new Sqlite(path, { create: true })
  try {
    chmodSync(path, 0o600)
    file.run('pragma locking_mode = exclusive')
    file.run('begin exclusive')
  } catch (error) {
    file.close()
    if (!(error instanceof SQLiteError) || error.code !== 'SQLITE_BUSY') throw error
    throw new DataDirTaken(
      `Another MiniMart process uses the data folder ${resolve(dataDir)}. ` +
        'Stop it first, or give this one a DATA_DIR of its own.',
    )
  }
  return { release: () => file.close() }
}
