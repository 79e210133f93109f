/**
 * Where PostgreSQL can no longer vouch for its files (an fsync or a write of its log failed), it ends itself and
 * recovers from the log at its next start. In PGlite that is an abort, upon which PGlite calls what has ended again
 * and again: the event loop would stand still for ever, and no signal would be heard. So the process ends, at once.
 */
import { writeSync } from 'node:fs'

export interface FailStop {
  /** Takes a line of PostgreSQL's own log. */
  onStderr(line: string): boolean
  onAbort(): void
  /** From here on an abort ends the process; before, it is what opening the database fails with. */
  arm(): void
}

export function createFailStop(): FailStop {
  let reason = 'it gave no reason'
  let armed = false
  return {
    onStderr: (line) => {
      reason = /PANIC: +(.+)/.exec(line)?.[1] ?? reason
      return false
    },
    onAbort: () => {
      if (armed) endProcess(reason)
    },
    arm: () => {
      armed = true
    },
  }
}

/** What waits for an answer gets none, so nothing is lost that was acknowledged. */
export function endProcess(reason: string): never {
  try {
    writeSync(
      2,
      `The embedded database has stopped: ${reason}. Nothing acknowledged is lost; ` +
        'see the disk and the system log, and start again.\n',
    )
  } catch {
    // Nobody reads it any more; the exit code tells.
  }
  process.exit(1)
}
