/**
 * Keeps a second process out of an embedded data folder, which PGlite does not.
 * The lock is SQLite's on an empty file, that is the operating system's (fcntl, LockFileEx): taken without a race,
 * gone with the process however it ends, and untroubled by reused process ids and by containers that share a volume.
 * A lock file with a pid in it has all of these troubles. Nothing else may open the file, since closing any handle
 * to it in this process would let the lock go.
 */

import { SQLiteError, Database as Sqlite } from 'bun:sqlite'
import { chmodSync, mkdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { OperatorError } from '../errors.ts'
import { diskFault } from './disk-error.ts'

/** Another process holds the data folder. */
export class DataDirTaken extends OperatorError {}

export interface DataDirLock {
  release(): void
}

/** SQLite's bound is 512, its own journal's name included. */
const maxPathBytes = 500

/**
 * Makes the folder (0700) if it is not there and takes it for this process, at once or not at all.
 * @throws DataDirTaken when another process holds it; OperatorError when its path is too long or the disk says no
 */
export function lockDataDir(dataDir: string): DataDirLock {
  try {
    return takeLock(dataDir)
  } catch (error) {
    throw refusedByDisk(error, dataDir)
  }
}

/** An OperatorError that tells the operator what to do where the disk is at fault, and the error itself elsewhere. */
function refusedByDisk(error: unknown, dataDir: string): unknown {
  const words = diskFault(error)
  return words === null ? error : new OperatorError(`DATA_DIR: ${dataDir} ${words}`, { cause: error })
}

/** What opening the database there failed with, told to the operator; the cause is for the log. */
export function cannotOpen(error: unknown, dataDir: string): OperatorError {
  if (error instanceof OperatorError) return error
  const told = refusedByDisk(isFull(dataDir) ? { code: 'ENOSPC', cause: error } : error, dataDir)
  if (told instanceof OperatorError) return told
  return new OperatorError(
    `DATA_DIR: the database in ${dataDir} does not open. See that this user may read and write all of it ` +
      'and that the disk has room; if it has and still does not open, restore a backup.',
    { cause: error },
  )
}

/** PostgreSQL says so in words alone where it wants to make another file of its log, of this size. */
const logFileBytes = 16 * 1024 * 1024

function isFull(dataDir: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dataDir)
    return bavail * bsize < logFileBytes
  } catch {
    return false
  }
}

function takeLock(dataDir: string): DataDirLock {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const path = join(dataDir, 'lock')
  if (Buffer.byteLength(path) > maxPathBytes)
    throw new OperatorError(
      `DATA_DIR: ${dataDir} has too long a path: ${maxPathBytes} bytes with what lies in it is the most. ` +
        'Choose a shorter one.',
    )
  const file = new Sqlite(path, { create: true })
  try {
    chmodSync(path, 0o600)
    file.run('pragma locking_mode = exclusive')
    file.run('begin exclusive')
  } catch (error) {
    file.close()
    if (!(error instanceof SQLiteError) || error.code !== 'SQLITE_BUSY') throw error
    throw new DataDirTaken(
      `Another MiniMart process uses the data folder ${dataDir}. ` +
        'Stop it first, or give this one a DATA_DIR of its own.',
    )
  }
  return { release: () => file.close() }
}
