/** Files of the embedded database that nothing changes: the folder itself, or the copy a running server makes of it. */

import { join } from 'node:path'
import pRetry from 'p-retry'
import { copyFolder } from '../data-dir/layout.ts'
import { DataDirTaken } from '../data-dir/lock.ts'
import type { Checkpoint } from '../db/embedded/quiesce.ts'
import { withQuiescedDataDir } from '../db/open.ts'
import type { Logger } from '../log.ts'
import { type CopyLease, requestCopy, serverStopped } from './control-client.ts'
import type { CopyFor } from './control-protocol.ts'

export interface QuiescedFolder extends Omit<Checkpoint, 'checkpointMs'> {
  folder: string
  /** For how many milliseconds the running server's statements waited; null where none was running. */
  pausedMs: number | null
  /** Aborted when the server that made the copy stops. */
  signal: AbortSignal
  /** For who has listed the files: a server that stops removes its copy. @throws OperatorError when it is doing so */
  ensureKept(): Promise<void>
}

/** Five seconds. */
const retries = { retries: 20, minTimeout: 250, factor: 1 }

export interface SourceOptions {
  dataDir: string
  /** Called once, when a running server answers. */
  onServer: () => void
}

/** @throws OperatorError; DataDirTaken when another process has the folder and does not answer */
export async function withQuiescedFolder<T>(
  { dataDir, log, onServer }: SourceOptions & { log: Logger },
  work: (source: QuiescedFolder) => Promise<T>,
): Promise<T> {
  const { signal } = new AbortController()
  return await onFolderOrCopy(
    { dataDir, copyFor: 'backup', onServer },
    () =>
      withQuiescedDataDir({ dataDir, log }, (checkpoint) =>
        work({ ...checkpoint, folder: dataDir, pausedMs: null, signal, ensureKept: async () => {} }),
      ),
    (folder, lease) =>
      work({ ...lease.copy, folder, signal: lease.stopped, ensureKept: () => ensureHeld(lease) }),
  )
}

/**
 * Works on the data folder itself, or where a server has it open on a copy that the server makes and then removes.
 * @param onFolder locks the folder before anything else
 * @throws DataDirTaken when whoever has the folder does not answer; OperatorError when the server refuses or stops
 */
export async function onFolderOrCopy<T>(
  { dataDir, copyFor, onServer }: SourceOptions & { copyFor: CopyFor },
  onFolder: () => Promise<T>,
  onCopy: (folder: string, lease: CopyLease) => Promise<T>,
): Promise<T> {
  const attempt = async (): Promise<T> => {
    try {
      return await onFolder()
    } catch (error) {
      const lease = error instanceof DataDirTaken ? await requestCopy(dataDir, copyFor, onServer) : null
      if (lease === null) throw error
      return await whileHeld(lease, onCopy(join(dataDir, copyFolder), lease))
    }
  }
  // A server that is starting or stopping has the folder but does not listen.
  return await pRetry(attempt, { ...retries, shouldRetry: ({ error }) => error instanceof DataDirTaken })
}

/** The copy goes when its server stops, so whatever fails after that failed because of it. */
async function whileHeld<T>(lease: CopyLease, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    await ensureHeld(lease)
    throw error
  } finally {
    lease.release()
  }
}

async function ensureHeld(lease: CopyLease): Promise<void> {
  if (!(await lease.isHeld())) throw serverStopped()
}
