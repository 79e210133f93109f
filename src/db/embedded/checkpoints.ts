/**
 * PGlite is PostgreSQL in single-user mode, which makes no checkpoint before it is closed: its log of changes would
 * grow for as long as the service runs, and all of it would have to be done again after a kill.
 */
import type { Logger } from '../../log.ts'
import type { EmbeddedDatabase } from './database.ts'
import { durability } from './pglite.ts'

/** As often as a PostgreSQL server by default. */
const usualEveryMs = 300_000

/** Makes a checkpoint every `everyMs` in which something was written; the answer ends it. */
export function checkpointRegularly(
  { atRest }: Pick<EmbeddedDatabase, 'atRest'>,
  log: Logger,
  everyMs = usualEveryMs,
): () => void {
  let written = durability.syncs
  const turn = async (): Promise<void> => {
    if (durability.syncs === written) return
    try {
      const ms = await atRest(async ({ checkpointMs }) => checkpointMs)
      written = durability.syncs
      log.debug('checkpoint', { ms })
    } catch (error) {
      log.warn('the embedded database made no checkpoint; trying again', { error })
    }
  }
  const timer = setInterval(() => void turn(), everyMs)
  timer.unref()
  return () => clearInterval(timer)
}
