/**
 * PGlite is PostgreSQL in single-user mode, which makes no checkpoint until it is closed: its write-ahead log would grow
 * for as long as the service runs, and all of it would have to be replayed after a kill.
 */
import type { Logger } from '../../log.ts'
import type { EmbeddedDatabase } from './database.ts'
import { durability } from './pglite.ts'

/** PostgreSQL's own default, checkpoint_timeout. */
const defaultIntervalMs = 300_000

/** Makes a checkpoint every `intervalMs`, if something was written since the last. @returns a function that stops it */
export function startCheckpoints(
  { whileQuiesced }: Pick<EmbeddedDatabase, 'whileQuiesced'>,
  log: Logger,
  intervalMs = defaultIntervalMs,
): () => void {
  let syncsAtLast = durability.syncs
  const checkpointIfWritten = async (): Promise<void> => {
    if (durability.syncs === syncsAtLast) return
    try {
      const ms = await whileQuiesced(async ({ checkpointMs }) => checkpointMs)
      syncsAtLast = durability.syncs
      log.debug('checkpoint', { ms })
    } catch (error) {
      log.warn('the embedded database failed to make a checkpoint; trying again at the next interval', {
        error,
      })
    }
  }
  const timer = setInterval(() => void checkpointIfWritten(), intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}
