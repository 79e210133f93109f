/**
 * Copies the data folder while the server has it open. A first pass runs beside the server's work; a second one, with
 * the database quiesced, copies what has changed since, and only that makes statements wait. The copy is not fsynced:
 * it is read right away and removed.
 */

import { constants } from 'node:fs'
import { copyFile, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { copyFolder } from '../data-dir/layout.ts'
import type { EmbeddedDatabase } from '../db/embedded/database.ts'
import type { Checkpoint } from '../db/embedded/quiesce.ts'
import { type ContentFile, isGone, listContents } from './contents.ts'
import { ensureRoom } from './disk-room.ts'
import { totalBytes } from './manifest.ts'

export interface DataDirCopy extends Omit<Checkpoint, 'checkpointMs'> {
  bytes: number
  /** For how many milliseconds no statement ran. */
  pausedMs: number
}

/** A file modified more recently than this may change again without a new mtime, so it waits for the second pass. */
const freshMs = 2000
const parallelCopies = 4

export interface CopyOptions {
  dataDir: string
  db: Pick<EmbeddedDatabase, 'whileQuiesced'>
  /** Checked before each file. */
  signal: AbortSignal
}

/** Copies into `backup-copy` in the data folder; the caller removes it. @throws OperatorError when the disk is too full */
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
    // Waits for all of them even when one fails, so that none still writes when the caller removes the copy.
    const ended = await Promise.allSettled(Array.from({ length: parallelCopies }, copySome))
    for (const outcome of ended) if (outcome.status === 'rejected') throw outcome.reason
  }
  const makeFolders = async (folders: string[]): Promise<void> => {
    for (const folder of folders) await mkdir(join(target, folder), { recursive: true, mode: 0o700 })
  }

  const early = await listContents(dataDir, null)
  await ensureRoom(dataDir, {
    bytes: totalBytes(early.files),
    what: 'a copy of the database',
    remedy: 'Make room, or stop the server: without one, no copy is needed.',
  })
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
