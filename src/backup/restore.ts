/** Restores a backup: unpacked beside what is there, opened once, fsynced, and only then moved into place. */

import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { prepareDataDir } from '../data-dir/data-dir.ts'
import { explainFileError } from '../data-dir/disk-error.ts'
import { syncTree } from '../data-dir/fsync.ts'
import { databaseFolder, occupants, placeRestored, settleDataDir, unpackFolder } from '../data-dir/layout.ts'
import { type DataDirLock, lockDataDir } from '../data-dir/lock.ts'
import { inspectDatabase } from '../db/open.ts'
import { OperatorError } from '../errors.ts'
import { type FileSink, readBackup } from './backup-reader.ts'
import { ensureRoom } from './disk-room.ts'
import { type Manifest, totalBytes } from './manifest.ts'

export interface RestoreOptions {
  file: string
  dataDir: string
  /** Sets aside what is in the folder, instead of refusing. */
  force: boolean
  progress: RestoreProgress
}

export interface RestoreProgress {
  /** The file is read twice, once for each of these. */
  begin(what: 'check' | 'unpack', bytes: number): void
  advance(bytes: number): void
  end(): void
}

export interface Restored {
  manifest: Manifest
  /** The folder, in DATA_DIR, with what was there before; null when there was nothing. */
  replaced: string | null
}

/** @throws OperatorError, having changed nothing; DataDirTaken when another process has the folder */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { dataDir, force } = options
  ensureFree(dataDir, force)
  // A running server is noticed before the file is read, which may take long.
  const early = existsSync(join(dataDir, 'lock')) ? lockDataDir(dataDir) : null
  try {
    // The whole file first: one that is refused must not have touched anything.
    const { files } = await check(options)
    await ensureRoom(dataDir, {
      bytes: totalBytes(files),
      what: 'the restored database',
      remedy: 'Make room, or let DATA_DIR name a folder on another disk.',
    })
  } catch (error) {
    early?.release()
    throw error
  }
  const lock = early ?? prepareAndLock(dataDir)
  try {
    settleDataDir(dataDir)
    ensureFree(dataDir, force)
    return await unpack(options).catch((error: unknown) => explainFileError(error, dataDir))
  } finally {
    lock.release()
  }
}

function prepareAndLock(dataDir: string): DataDirLock {
  prepareDataDir(dataDir)
  return lockDataDir(dataDir)
}

/** @throws OperatorError when the folder is not empty, unless `force` */
function ensureFree(dataDir: string, force: boolean): void {
  const found = occupants(dataDir)
  if (found.length === 0 || force) return
  throw new OperatorError(
    `${dataDir} is not empty (${found.slice(0, 3).join(', ')}${found.length > 3 ? ', …' : ''}). Let DATA_DIR ` +
      'name an empty folder, or add --force, which sets aside what is there and deletes nothing.',
  )
}

async function check({ file, progress }: RestoreOptions): Promise<Manifest> {
  const discard: FileSink = { write: async () => undefined, end: async () => undefined }
  const manifest = await readBackup(file, {
    begin: ({ files }) => progress.begin('check', totalBytes(files)),
    file: async () => discard,
    advance: progress.advance,
  }).catch((error: unknown) => explainFileError(error, file))
  progress.end()
  return manifest
}

async function unpack({ file, dataDir, progress }: RestoreOptions): Promise<Restored> {
  const target = join(dataDir, unpackFolder)
  try {
    await mkdir(target, { mode: 0o700 })
    const manifest = await readBackup(file, {
      begin: async ({ files, folders }) => {
        for (const folder of folders) await mkdir(join(target, folder), { mode: 0o700 })
        progress.begin('unpack', totalBytes(files))
      },
      file: ({ path }) => createFile(join(target, path)),
      advance: progress.advance,
    })
    progress.end()
    await ensureOpens(join(target, databaseFolder), manifest)
    await syncTree(target)
    return { manifest, replaced: placeRestored(dataDir) }
  } finally {
    await rm(target, { recursive: true, force: true })
  }
}

/** Synchronous: nothing else runs in this process, and a thousand small files are faster without the thread pool. */
async function createFile(path: string): Promise<FileSink> {
  const handle = openSync(path, 'wx', 0o600)
  return {
    write: async (chunk) => writeFileSync(handle, chunk),
    end: async () => closeSync(handle),
  }
}

/** Right checksums do not make a database that this release can open, nor a manifest that belongs to it. */
async function ensureOpens(folder: string, { postgres, migration }: Manifest): Promise<void> {
  const checkpoint = await inspectDatabase(folder).catch((error: unknown) => {
    throw new OperatorError(
      `The database in this backup (PostgreSQL ${postgres}) does not open with this release: ` +
        `${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  })
  if ((checkpoint.migrations.at(-1)?.name ?? null) !== migration)
    throw new OperatorError("The backup's manifest does not belong to the database in it.")
}
