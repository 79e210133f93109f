/**
 * Keeps a second process out of an embedded data folder, which PGlite does not. SQLite's exclusive lock on an empty
 * file is one of the operating system's (fcntl, LockFileEx): free of races, released however the process ends, and
 * unlike a pid file immune to reused process ids and containers that share a volume. Nothing else may open the file:
 * closing any handle to it in this process would release the lock.
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

/** SQLite's limit is 512, including the name of its journal. */
const maxPathBytes = 500

/**
 * Creates the folder (0700) if it is missing and locks it for this process, without waiting.
 * @throws DataDirTaken when another process has it; OperatorError when its path is too long or the disk refuses
 */
export function lockDataDir(dataDir: string): DataDirLock {
  try {
    return takeLock(dataDir)
  } catch (error) {
    throw explainDiskError(error, dataDir)
  }
}

/** An OperatorError for errors of the disk; any other error as it is. */
function explainDiskError(error: unknown, dataDir: string): unknown {
  const fault = diskFault(error)
  return fault === null ? error : new OperatorError(`DATA_DIR: ${dataDir} ${fault}`, { cause: error })
}

/** Explains to the operator why the database in the folder does not open; the cause is for the log. */
export function cannotOpen(error: unknown, dataDir: string): OperatorError {
  if (error instanceof OperatorError) return error
  const explained = explainDiskError(isFull(dataDir) ? { code: 'ENOSPC', cause: error } : error, dataDir)
  if (explained instanceof OperatorError) return explained
  return new OperatorError(
    `DATA_DIR: the database in ${dataDir} does not open. See that this user may read and write all of it ` +
      'and that the disk has free space; if it still does not open, restore a backup.',
    { cause: error },
  )
}

/** Of a WAL segment: where there is no room for another one, PostgreSQL's error has no code that says so. */
const walSegmentBytes = 16 * 1024 * 1024

function isFull(dataDir: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dataDir)
    return bavail * bsize < walSegmentBytes
  } catch {
    return false
  }
}

function takeLock(dataDir: string): DataDirLock {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const path = join(dataDir, 'lock')
  if (Buffer.byteLength(path) > maxPathBytes)
    throw new OperatorError(
      `DATA_DIR: ${dataDir} has a path that is too long: at most ${maxPathBytes} bytes, with the name of a file in it. ` +
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
