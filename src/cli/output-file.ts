/**
 * Where a backup or an export is written: FILE.part until it is complete and fsynced, then FILE. Readable for its owner
 * alone, since it contains keys and password hashes.
 */
import { rmSync, statSync } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { explainFileError } from '../data-dir/disk-error.ts'
import { syncFolder } from '../data-dir/fsync.ts'
import { OperatorError } from '../errors.ts'

export interface OutputFile {
  write(chunk: Uint8Array): Promise<void>
  /** Gives the file its name. @returns its size in bytes */
  commit(): Promise<number>
  /** Leaves nothing behind. Synchronous, for use before process.exit. */
  discard(): void
}

export interface ExistingFile {
  /** Replaces a file that exists, instead of refusing. */
  force: boolean
  /** What to do where it is refused; completes "name another file, or …". */
  remedy: string
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Gives `work` the file to write to, or standard output for `-`. When `work` fails or a signal ends the program,
 * nothing is left of the file.
 * @returns what `work` returned, and the size in bytes
 */
export async function withOutputFile<T>(
  path: string,
  existing: ExistingFile,
  work: (write: OutputFile['write']) => Promise<T>,
): Promise<[T, number]> {
  let output: OutputFile | null = null
  let isStopped = false
  const stop = (): void => {
    isStopped = true
    if (output === null) return
    output.discard()
    process.exit(1)
  }
  // Before the file exists: a signal that comes while it is opened must not leave it there.
  for (const signal of signals) process.once(signal, stop)
  try {
    output = path === '-' ? standardOutput() : await openOutputFile(path, existing)
    if (isStopped) stop()
    const result = await work(output.write)
    return [result, await output.commit()]
  } catch (error) {
    output?.discard()
    throw error
  } finally {
    for (const signal of signals) process.off(signal, stop)
  }
}

/** @throws OperatorError when FILE exists (unless `force`) or cannot be written */
export async function openOutputFile(path: string, existing: ExistingFile): Promise<OutputFile> {
  const part = `${path}.part`
  const explain = (error: unknown): never => explainFileError(error, path)
  await ensureFree(path, existing)
  const handle = await openPart(part).catch(explain)
  const { ino } = await handle.stat().catch(explain)
  /** Not when another process writes the same FILE and has replaced the part with its own. */
  const isOwn = (): boolean => statSync(part, { throwIfNoEntry: false })?.ino === ino
  let bytes = 0
  return {
    write: async (chunk) => {
      await handle.appendFile(chunk).catch(explain)
      bytes += chunk.length
    },
    commit: async () => {
      await handle.sync().catch(explain)
      await ensureFree(path, existing)
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

async function ensureFree(path: string, { force, remedy }: ExistingFile): Promise<void> {
  const found = await stat(path).catch(() => null)
  if (found && !found.isFile())
    throw new OperatorError(`${path} is not a file; name one, or - for standard output.`)
  if (found && !force) throw new OperatorError(`${path} exists already; name another file, or ${remedy}.`)
}

/** Removes what an interrupted run left there first, so that neither its mode nor a link in its place matters. */
async function openPart(part: string): Promise<FileHandle> {
  await rm(part, { force: true })
  return await open(part, 'wx', 0o600)
}

function standardOutput(): OutputFile {
  let bytes = 0
  // The callback of the write that failed has the error.
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
