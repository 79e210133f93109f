/** Restores a backup into a data folder: all of it beside what is there, tried, on the disk, and only then in place. */

import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { mkdir, rm, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { prepareDataDir } from '../data-dir/data-dir.ts'
import { explainFileError } from '../data-dir/disk-error.ts'
import { syncTree } from '../data-dir/fsync.ts'
import { databaseFolder, occupants, placeRestored, settleDataDir, unpackFolder } from '../data-dir/layout.ts'
import { type DataDirLock, lockDataDir } from '../data-dir/lock.ts'
import { inspectDatabase } from '../db/open.ts'
import { OperatorError } from '../errors.ts'
import { type FileTaker, readBackup } from './backup-reader.ts'
import { type Manifest, totalBytes } from './manifest.ts'

export interface RestoreOptions {
  file: string
  dataDir: string
  /** Whether what is there may be set aside. */
  force: boolean
  progress: RestoreProgress
}

export interface RestoreProgress {
  /** The file is read twice: once to check it, once to unpack it. */
  begin(what: 'check' | 'unpack', bytes: number): void
  advance(bytes: number): void
  end(): void
}

export interface Restored {
  manifest: Manifest
  /** Where what was there before is now; null where nothing was. */
  replaced: string | null
}

/** @throws OperatorError, OperatorError when another process has the folder; what was there is as it was then */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { dataDir, force } = options
  ensureFree(dataDir, force)
  // Where a server may be running, it is noticed before the file is read, which takes its time.
  const early = existsSync(join(dataDir, 'lock')) ? lockDataDir(dataDir) : null
  // All of the file: one that is refused has not touched anything.
  const checked = check(options).then(({ files }) => ensureRoom(dataDir, totalBytes(files)))
  await checked.catch((error: unknown) => {
    early?.release()
    throw error
  })
  const lock = early ?? takeFolder(dataDir)
  try {
    settleDataDir(dataDir)
    ensureFree(dataDir, force)
    return await unpack(options).catch((error: unknown) => explainFileError(error, dataDir))
  } finally {
    lock.release()
  }
}

function takeFolder(dataDir: string): DataDirLock {
  prepareDataDir(dataDir)
  return lockDataDir(dataDir)
}

/** An empty folder, or with `force` one that holds what can be set aside. */
function ensureFree(dataDir: string, force: boolean): void {
  const found = occupants(dataDir)
  if (found.length === 0 || force) return
  throw new OperatorError(
    `${dataDir} is not empty (${found.slice(0, 3).join(', ')}${found.length > 3 ? ', …' : ''}). Let DATA_DIR ` +
      'name an empty folder, or add --force: what is there is then set aside, not deleted.',
  )
}

async function check({ file, progress }: RestoreOptions): Promise<Manifest> {
  const nowhere: FileTaker = { write: async () => undefined, end: async () => undefined }
  const manifest = await readBackup(file, {
    begin: ({ files }) => progress.begin('check', totalBytes(files)),
    file: async () => nowhere,
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
    await tryOut(join(target, databaseFolder), manifest)
    await syncTree(target)
    return { manifest, replaced: placeRestored(dataDir) }
  } finally {
    await rm(target, { recursive: true, force: true })
  }
}

/** Nobody else waits in this process, and a thousand small files are written sooner without going to threads. */
async function createFile(path: string): Promise<FileTaker> {
  const handle = openSync(path, 'wx', 0o600)
  return {
    write: async (chunk) => writeFileSync(handle, chunk),
    end: async () => closeSync(handle),
  }
}

/** Its checksums may be right and PostgreSQL's files of another release, or the manifest not about this database. */
async function tryOut(folder: string, { postgres, migration }: Manifest): Promise<void> {
  const resting = await inspectDatabase(folder).catch((error: unknown) => {
    throw new OperatorError(
      `The database in this backup (PostgreSQL ${postgres}) does not open with this program: ` +
        `${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  })
  if ((resting.migrations.at(-1)?.name ?? null) !== migration)
    throw new OperatorError("The backup's manifest is about another database than the one in it.")
}

/** Opening it writes a little more. */
const spareBytes = 64 * 2 ** 20

async function ensureRoom(dataDir: string, bytes: number): Promise<void> {
  if (!existsSync(dataDir)) return ensureRoom(dirname(dataDir), bytes)
  const { bavail, bsize } = await statfs(dataDir)
  if (bavail * bsize >= bytes + spareBytes) return
  throw new OperatorError(
    `${dataDir}: ${Math.ceil((bytes + spareBytes) / 1_000_000)} MB are needed, and its disk has ` +
      `${Math.floor((bavail * bsize) / 1_000_000)} MB free. Make room, or let DATA_DIR name a folder on another disk.`,
  )
}
