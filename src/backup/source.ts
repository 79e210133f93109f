/** A data folder that holds still: the running server's copy of it, or the folder itself where no server has it. */

import { join } from 'node:path'
import { copyFolder } from '../data-dir/layout.ts'
import { DataDirTaken } from '../data-dir/lock.ts'
import type { Checkpoint } from '../db/embedded/quiesce.ts'
import { withQuiescedDataDir } from '../db/open.ts'
import type { Logger } from '../log.ts'
import { type CopyLine, requestCopy } from './control-client.ts'
import type { CopyFor } from './control-messages.ts'

export interface StillFolder extends Omit<Checkpoint, 'checkpointMs'> {
  folder: string
  /** For how many milliseconds the running server let its clients wait; null where none was running. */
  pausedMs: number | null
  /** Aborted when the server that made the copy went away. */
  signal: AbortSignal
}

const tries = 20
const pauseMs = 250

export interface WhoeverHasIt {
  dataDir: string
  /** Called once when a running server is asked. */
  asked: () => void
}

/** @throws OperatorError, DataDirTaken when whoever has it never answers, OperatorError */
export async function withStillFolder<T>(
  { dataDir, log, asked }: WhoeverHasIt & { log: Logger },
  work: (source: StillFolder) => Promise<T>,
): Promise<T> {
  const signal = new AbortController().signal
  return await onFolderOrCopy(
    { dataDir, copyFor: 'backup', asked },
    () =>
      withQuiescedDataDir({ dataDir, log }, (checkpoint) =>
        work({ ...checkpoint, folder: dataDir, pausedMs: null, signal }),
      ),
    (folder, { copy, gone }) => work({ ...copy, folder, signal: gone }),
  )
}

/**
 * Works on the data folder itself where no server has it, else on a copy that the server makes and removes afterwards.
 * @param own takes the folder for this process first of all
 * @throws DataDirTaken when whoever has the folder never answers, OperatorError when the server makes no copy
 */
export async function onFolderOrCopy<T>(
  { dataDir, copyFor, asked }: WhoeverHasIt & { copyFor: CopyFor },
  own: () => Promise<T>,
  onCopy: (folder: string, line: CopyLine) => Promise<T>,
): Promise<T> {
  // Whoever has the folder may be starting or stopping, and not be listening for that moment.
  for (let attempt = 1; ; attempt++) {
    try {
      return await own()
    } catch (error) {
      if (!(error instanceof DataDirTaken)) throw error
      const line = await requestCopy(dataDir, copyFor, asked)
      if (line) return await onCopy(join(dataDir, copyFolder), line).finally(line.release)
      if (attempt === tries) throw error
      await Bun.sleep(pauseMs)
    }
  }
}
