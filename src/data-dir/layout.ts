/**
 * What may be in a data folder besides the database, and how a restored one comes into its place. Everything happens
 * within DATA_DIR, for that may be a volume's root, which cannot be renamed, in a folder that this user may not write
 * to. Several things are moved, so the moves are one only by a journal: from the rename to `restored-…` on, whoever
 * takes the folder next completes what is missing. All of this needs the folder's lock.
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
/** What a restored backup takes the place of. */
const replaceable = [databaseFolder, secretFile, 'outbox']
/** Made while the running server copies itself. */
export const copyFolder = 'backup-copy'
/** Holds a backup that is being unpacked; worth nothing until all of it was checked. */
export const unpackFolder = 'restoring'

const stampOf = (prefix: string) => new RegExp(`^${prefix}-(.+)$`)
const [unpacked, placing] = [stampOf('restored'), stampOf('placing')]

/**
 * Puts what was unpacked into `restoring` into its place; what was there before goes into `replaced-…`.
 * @returns the name of that folder, null where nothing was there
 */
export function placeRestored(dataDir: string): string | null {
  const stamp = freeStamp(dataDir)
  // A folder that cannot be moved had better be known now.
  for (const name of present(dataDir)) accessSync(join(dataDir, name), constants.W_OK)
  renameSync(join(dataDir, unpackFolder), join(dataDir, `restored-${stamp}`))
  syncFolder(dataDir)
  settleDataDir(dataDir)
  return existsSync(join(dataDir, `replaced-${stamp}`)) ? `replaced-${stamp}` : null
}

/** As settleDataDir, for who does not hold the folder. @throws DataDirTaken when another process does */
export function completeRestore(dataDir: string): void {
  const lock = lockDataDir(dataDir)
  try {
    settleDataDir(dataDir)
  } finally {
    lock.release()
  }
}

/**
 * Completes a restore that was cut off, and removes what was cut off before it was whole.
 * @throws OperatorError when something cannot be moved; it goes on from there once it can
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
      `${dataDir} holds a backup or a restore that was cut off and that cannot be cleared up (${reason}). ` +
        'Mend the permissions of what is in this folder and try again: it is completed then.',
    )
  }
}

/** Whether opening the folder would find something, a database or what stands in its way, rather than make one. */
export const holdsDatabase = (dataDir: string): boolean =>
  !isEmpty(join(dataDir, databaseFolder)) ||
  (existsSync(dataDir) && readdirSync(dataDir).some((name) => unpacked.test(name) || placing.test(name)))

const isEmpty = (folder: string): boolean => !existsSync(folder) || readdirSync(folder).length === 0

/** What keeps a restore from being into an empty place. */
export const occupants = (dataDir: string): string[] =>
  existsSync(dataDir) ? readdirSync(dataDir).filter((name) => !unimportant.test(name)) : []

const unimportant = /^(lock(-journal)?|control|lost\+found|backup-copy|restoring)$/

const present = (dataDir: string): string[] => replaceable.filter((name) => existsSync(join(dataDir, name)))

function setAside(dataDir: string, stamp: string): void {
  const aside = join(dataDir, `replaced-${stamp}`)
  for (const name of present(dataDir)) {
    mkdirSync(aside, { recursive: true, mode: 0o700 })
    renameSync(join(dataDir, name), join(aside, name))
    syncFolder(aside)
  }
  syncFolder(dataDir)
  // Only from here on is what stands in DATA_DIR the restored and not the old.
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
