/** Where a backup is written: FILE.part until it is whole and on the disk, then FILE. For its owner alone. */
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncFolder } from '../db/sync-files.ts'
import { BackupRefused, explainFileError } from './refused.ts'

export interface Target {
  write(chunk: Uint8Array): Promise<void>
  /** Answers the size in bytes. */
  commit(): Promise<number>
  /** Leaves nothing behind. */
  discard(): Promise<void>
}

/** @throws BackupRefused when FILE is there (unless `force`) or cannot be written */
export async function openTarget(path: string, force: boolean): Promise<Target> {
  const found = await stat(path).catch(() => null)
  if (found && !found.isFile())
    throw new BackupRefused(`${path} is not a file; name one, or - for standard output.`)
  if (found && !force)
    throw new BackupRefused(`${path} is there already; name another file, or add --force to replace it.`)
  const part = `${path}.part`
  const explain = (error: unknown): never => explainFileError(error, path)
  const handle = await openPart(part).catch(explain)
  let bytes = 0
  return {
    write: async (chunk) => {
      await handle.appendFile(chunk).catch(explain)
      bytes += chunk.length
    },
    commit: async () => {
      await handle.sync().catch(explain)
      await handle.close().catch(explain)
      await rename(part, path).catch(explain)
      syncFolder(dirname(path))
      return bytes
    },
    discard: async () => {
      await handle.close().catch(() => undefined)
      await rm(part, { force: true })
    },
  }
}

/** What an interrupted backup left there is made anew, so that neither its mode nor a link in its place matters. */
async function openPart(part: string): Promise<FileHandle> {
  await rm(part, { force: true })
  return await open(part, 'wx', 0o600)
}

export const standardOutput = (): Target => {
  let bytes = 0
  // The write that failed tells.
  process.stdout.on('error', () => undefined)
  return {
    write: (chunk) =>
      new Promise((resolve, reject) => {
        bytes += chunk.length
        process.stdout.write(chunk, (error) => (error ? reject(explained(error)) : resolve()))
      }),
    commit: async () => bytes,
    discard: async () => undefined,
  }
}

const explained = (error: Error): Error =>
  'code' in error && error.code === 'EPIPE'
    ? new BackupRefused('Whoever read the backup stopped before its end.', { cause: error })
    : error
