/** A data folder that holds still: the running server's copy of it, or the folder itself where no server has it. */
import { join } from 'node:path'
import { requestCopy } from '../control/client.ts'
import { withDataDirAtRest } from '../db/client.ts'
import { DataDirTaken } from '../db/data-dir-lock.ts'
import { copyFolder } from '../db/data-dir-place.ts'
import type { Resting } from '../db/resting.ts'
import type { Logger } from '../log.ts'

export interface StillFolder extends Omit<Resting, 'checkpointMs'> {
  folder: string
  /** For how many milliseconds the running server let its clients wait; null where none was running. */
  pausedMs: number | null
  /** Aborted when the server that made the copy went away. */
  signal: AbortSignal
}

const tries = 20
const pauseMs = 250

/**
 * @param asked called once when a running server is asked
 * @throws DatabaseRefused, DataDirTaken when whoever has it never answers, BackupRefused
 */
export async function withStillFolder<T>(
  { dataDir, log, asked }: { dataDir: string; log: Logger; asked: () => void },
  work: (source: StillFolder) => Promise<T>,
): Promise<T> {
  // Whoever has the folder may be starting or stopping, and not be listening for that moment.
  for (let attempt = 1; ; attempt++) {
    try {
      return await withDataDirAtRest({ dataDir, log }, (resting) =>
        work({ ...resting, folder: dataDir, pausedMs: null, signal: new AbortController().signal }),
      )
    } catch (error) {
      if (!(error instanceof DataDirTaken)) throw error
      const line = await requestCopy(dataDir, asked)
      if (line)
        return await work({ ...line.copy, folder: join(dataDir, copyFolder), signal: line.gone }).finally(
          line.release,
        )
      if (attempt === tries) throw error
      await Bun.sleep(pauseMs)
    }
  }
}
