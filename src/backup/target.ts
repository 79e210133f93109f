/**
 * Where a backup or an export is written: FILE.part until it is whole and on the disk, then FILE. For its owner alone,
 * for there are keys and password hashes in it.
 */

import { rmSync, statSync } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { explainFileError } from '../data-dir/disk-error.ts'
import { syncFolder } from '../data-dir/fsync.ts'
import { OperatorError } from '../errors.ts'

export interface Target {
  write(chunk: Uint8Array): Promise<void>
  /** Answers the size in bytes. */
  commit(): Promise<number>
  /** Leaves nothing behind, at once: the process may end after it. */
  discard(): void
}

export interface WhereFileIs {
  /** Whether it is replaced. */
  force: boolean
  /** What to do about it, where it is not. */
  instead: string
}

/** @throws OperatorError when FILE is there (unless `force`) or cannot be written */
export async function openTarget(path: string, where: WhereFileIs): Promise<Target> {
  const part = `${path}.part`
  const explain = (error: unknown): never => explainFileError(error, path)
  await ensureFree(path, where)
  const handle = await openPart(part).catch(explain)
  const { ino } = await handle.stat().catch(explain)
  /** Else another one for the same FILE has put its own there, which is not whole yet. */
  const isOwn = (): boolean => statSync(part, { throwIfNoEntry: false })?.ino === ino
  let bytes = 0
  return {
    write: async (chunk) => {
      await handle.appendFile(chunk).catch(explain)
      bytes += chunk.length
    },
    commit: async () => {
      await handle.sync().catch(explain)
      await ensureFree(path, where)
      if (!isOwn()) throw new OperatorError(`Something else writes to ${path} as well; name another file.`)
      await handle.close().catch(explain)
      await rename(part, path).catch(explain)
      syncFolder(dirname(path))
      return bytes
    },
    discard: () => {
      if (isOwn()) rmSync(part, { force: true })
      void handle.close().catch(() => undefined)
    },
  }
}

async function ensureFree(path: string, { force, instead }: WhereFileIs): Promise<void> {
  const found = await stat(path).catch(() => null)
  if (found && !found.isFile())
    throw new OperatorError(`${path} is not a file; name one, or - for standard output.`)
  if (found && !force) throw new OperatorError(`${path} is there already; name another file, or ${instead}.`)
}

/** What an interrupted one left there is made anew, so that neither its mode nor a link in its place matters. */
async function openPart(part: string): Promise<FileHandle> {
  await rm(part, { force: true })
  return await open(part, 'wx', 0o600)
}

export const standardOutput = (): Target => {
  let bytes = 0
  // The write that failed tells.
  process.stdout.on('error', () => undefined)
  return {
    write: async (chunk) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      process.stdout.write(chunk, (error) => (error ? reject(error) : resolve()))
      await promise.catch((error: unknown) => explainFileError(error, 'Standard output'))
      bytes += chunk.length
    },
    commit: async () => bytes,
    discard: () => undefined,
  }
}
