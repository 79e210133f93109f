/**
 * When an fsync or a write of its log fails, PostgreSQL panics and recovers from the log at its next start. In PGlite a
 * panic is an abort, after which PGlite keeps calling the aborted module: the event loop would block forever, and no
 * signal would get through. So the process exits instead.
 */
import { writeSync } from 'node:fs'

export interface FailStop {
  /** Given each line of PostgreSQL's own log. */
  onStderr(line: string): boolean
  onAbort(): void
  /** From here on an abort ends the process; before, opening the database fails with it. */
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

/** Calls in progress get no result, so nothing that was acknowledged is lost. */
export function endProcess(reason: string): never {
  try {
    writeSync(
      2,
      `The embedded database has stopped: ${reason}. No acknowledged write is lost; ` +
        'check the disk and the system log, then start again.\n',
    )
  } catch {
    // Standard error is closed; the exit code has to do.
  }
  process.exit(1)
}
