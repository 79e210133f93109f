/**
 * The layout of a data folder, and how a restored backup is moved into place. Everything happens within DATA_DIR: it
 * may be the root of a volume, which cannot be renamed, in a folder this user may not write to. Several renames are
 * needed, and folder names serve as the journal that makes them atomic: from the rename to `restored-…` on, whoever
 * locks the folder next completes the rest. All of this requires the folder's lock.
 */

import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { OperatorError } from '../errors.ts'
import { secretFile } from './data-dir.ts'
import { syncFolder } from './fsync.ts'
import { lockDataDir } from './lock.ts'

/** The folder of the embedded database under DATA_DIR. */
export const databaseFolder = 'database'
/** What a restored backup replaces. */
const replaceable = [databaseFolder, secretFile, 'outbox']
/** The copy that a running server makes for a backup or an export. */
export const copyFolder = 'backup-copy'
/** A backup that is being unpacked; not trusted until all of it is verified. */
export const unpackFolder = 'restoring'

const stampOf = (prefix: string) => new RegExp(`^${prefix}-(.+)$`)
const [unpacked, placing] = [stampOf('restored'), stampOf('placing')]

/**
 * Moves what was unpacked into `restoring` into place, and what was there before into `replaced-…`.
 * @returns the name of that folder; null when there was nothing before
 */
export function placeRestored(dataDir: string): string | null {
  const stamp = freeStamp(dataDir)
  // Detects folders that cannot be moved before anything is.
  for (const name of present(dataDir)) accessSync(join(dataDir, name), constants.W_OK)
  renameSync(join(dataDir, unpackFolder), join(dataDir, `restored-${stamp}`))
  syncFolder(dataDir)
  settleDataDir(dataDir)
  return existsSync(join(dataDir, `replaced-${stamp}`)) ? `replaced-${stamp}` : null
}

/** Locks the folder for settleDataDir. @throws DataDirTaken when another process has it */
export function completeRestore(dataDir: string): void {
  const lock = lockDataDir(dataDir)
  try {
    settleDataDir(dataDir)
  } finally {
    lock.release()
  }
}

/**
 * Completes an interrupted restore, and removes copies and unpacked backups that were left incomplete.
 * @throws OperatorError when something cannot be moved; the next call continues from there
 */
export function settleDataDir(dataDir: string): void {
  try {
    for (const name of readdirSync(dataDir)) {
      const stamp = unpacked.exec(name)?.[1]
      if (stamp !== undefined) setAside(dataDir, stamp)
    }
    for (const name of readdirSync(dataDir)) if (placing.test(name)) moveUp(dataDir, name)
    for (const name of [copyFolder, unpackFolder])
      rmSync(join(dataDir, name), { recursive: true, force: true })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new OperatorError(
      `${dataDir} holds an interrupted backup or restore that cannot be cleaned up (${reason}). ` +
        'Fix the permissions of what is in this folder and try again: that completes it.',
    )
  }
}

/** Whether opening the folder would find something, a database or an obstacle, rather than create a database. */
export const holdsDatabase = (dataDir: string): boolean =>
  !isEmpty(join(dataDir, databaseFolder)) ||
  (existsSync(dataDir) && readdirSync(dataDir).some((name) => unpacked.test(name) || placing.test(name)))

const isEmpty = (folder: string): boolean => !existsSync(folder) || readdirSync(folder).length === 0

/** What makes a restore refuse the folder as not empty. */
export const occupants = (dataDir: string): string[] =>
  existsSync(dataDir) ? readdirSync(dataDir).filter((name) => !ignored.test(name)) : []

const ignored = /^(lock(-journal)?|control|lost\+found|backup-copy|restoring)$/

const present = (dataDir: string): string[] => replaceable.filter((name) => existsSync(join(dataDir, name)))

function setAside(dataDir: string, stamp: string): void {
  const aside = join(dataDir, `replaced-${stamp}`)
  for (const name of present(dataDir)) {
    mkdirSync(aside, { recursive: true, mode: 0o700 })
    renameSync(join(dataDir, name), join(aside, name))
    syncFolder(aside)
  }
  syncFolder(dataDir)
  // From here on, what is in DATA_DIR is restored data, and no longer the old data.
  renameSync(join(dataDir, `restored-${stamp}`), join(dataDir, `placing-${stamp}`))
  syncFolder(dataDir)
}

function moveUp(dataDir: string, from: string): void {
  for (const name of readdirSync(join(dataDir, from)))
    renameSync(join(dataDir, from, name), join(dataDir, name))
  syncFolder(dataDir)
  rmdirSync(join(dataDir, from))
}

function freeStamp(dataDir: string): string {
  const now = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  for (let count = 1; ; count++) {
    const stamp = count === 1 ? now : `${now}-${count}`
    if (!existsSync(join(dataDir, `replaced-${stamp}`))) return stamp
  }
}
