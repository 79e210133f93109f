/**
 * A copy of the data folder, made by the server that has it open. Most of it is copied while the server goes on; then,
 * with no statement running, what has changed since is copied again. Only that second part makes anybody wait.
 * The copy is a file system's, not fsynced: it is read at once and removed.
 */

import { constants } from 'node:fs'
import { copyFile, mkdir, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { copyFolder } from '../data-dir/layout.ts'
import type { EmbeddedDatabase } from '../db/embedded/database.ts'
import type { Checkpoint } from '../db/embedded/quiesce.ts'
import { OperatorError } from '../errors.ts'
import { type ContentFile, isGone, listContents } from './contents.ts'
import { totalBytes } from './manifest.ts'

export interface DataDirCopy extends Omit<Checkpoint, 'checkpointMs'> {
  bytes: number
  /** How long no statement ran, in milliseconds. */
  pausedMs: number
}

/** A file that was changed so shortly before it was looked at may change again without a new time of change. */
const freshMs = 2000
const together = 4
/** Left to the server for its own writes. */
const spareBytes = 64 * 2 ** 20

export interface CopyOptions {
  dataDir: string
  db: Pick<EmbeddedDatabase, 'whileQuiesced'>
  /** Gives up between two files. */
  signal: AbortSignal
}

/** Into `backup-copy` below the data folder, which the caller removes. @throws OperatorError when there is no room */
export async function copyDataDir({ dataDir, db, signal }: CopyOptions): Promise<DataDirCopy> {
  const target = join(dataDir, copyFolder)
  await rm(target, { recursive: true, force: true })
  await mkdir(target, { mode: 0o700 })
  const copied = new Map<string, string>()
  const copyAll = async (files: ContentFile[], mayVanish: boolean): Promise<void> => {
    const remaining = files.values()
    const copySome = async (): Promise<void> => {
      for (const { path, stamp } of remaining) {
        signal.throwIfAborted()
        try {
          await copyFile(join(dataDir, path), join(target, path), constants.COPYFILE_FICLONE)
          copied.set(path, stamp)
        } catch (error) {
          if (!mayVanish || !isGone(error)) throw error
        }
      }
    }
    // All of them end before this does: nobody writes into the copy any more when it is removed.
    const ended = await Promise.allSettled(Array.from({ length: together }, copySome))
    for (const outcome of ended) if (outcome.status === 'rejected') throw outcome.reason
  }
  const makeFolders = async (folders: string[]): Promise<void> => {
    for (const folder of folders) await mkdir(join(target, folder), { recursive: true, mode: 0o700 })
  }

  const early = await listContents(dataDir, null)
  await ensureRoom(dataDir, totalBytes(early.files))
  await makeFolders(early.folders)
  const settled = early.files.filter(({ modifiedMs }) => modifiedMs < Date.now() - freshMs)
  await copyAll(settled, true)

  return await db.whileQuiesced(async ({ checkpointMs, ...checkpoint }) => {
    const startedAt = performance.now()
    const { folders, files } = await listContents(dataDir, checkpoint.wal)
    await makeFolders(folders)
    await copyAll(
      files.filter(({ path, stamp }) => copied.get(path) !== stamp),
      false,
    )
    const gone = [...copied.keys()].filter((path) => !files.some((file) => file.path === path))
    for (const path of gone) await rm(join(target, path))
    const pausedMs = checkpointMs + Math.round(performance.now() - startedAt)
    return { ...checkpoint, bytes: totalBytes(files), pausedMs }
  })
}

async function ensureRoom(dataDir: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(dataDir)
  if (bavail * bsize >= bytes + spareBytes) return
  throw new OperatorError(
    `The server's disk has no room for a copy of its database: ${inMegabytes(bytes + spareBytes)} are needed in ` +
      `${dataDir}, and ${inMegabytes(bavail * bsize)} are free. Make room, or stop the server and try again.`,
  )
}

const inMegabytes = (bytes: number): string => `${Math.ceil(bytes / 1_000_000)} MB`
