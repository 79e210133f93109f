/**
 * A connection pooler in front of PostgreSQL must leave each connection its session: the tenant of a read, the role that
 * row-level security applies to and the lock of a migration live there. One that pools transactions or statements gives
 * a connection's next statement to another session, or another connection's to this one.
 */
import { OperatorError } from '../../errors.ts'
import { isStalePlan } from '../errors.ts'

/** The sessions of the server are not its connections' own. */
export class SessionsShared extends OperatorError {}

/** Rejects with the driver's own errors. */
export type Ask = (text: string) => Promise<Record<string, unknown>[]>

/** A busy pool hides it from some; while it is idle the first or second finds it out. */
const rounds = 20

/**
 * Leaves a new mark in the session of one connection and looks for it from both: it must be there, and none of them on
 * the other. In whichever order a pooler hands out its sessions, one of the three statements gets one that it should
 * not: the last used one is the other's, and if it is the least used one, three of them do not come round in step.
 */
export async function sharesSessions(one: Ask, other: Ask): Promise<boolean> {
  const marks = crypto.randomUUID()
  const look = async (ask: Ask): Promise<string> => {
    const [row] = await ask(`select current_setting('app.pooled', true) as mark`)
    return String(row?.['mark'] ?? '')
  }
  try {
    for (let round = 0; round < rounds; round++) {
      const mark = `${marks} ${round}`
      await one(`select set_config('app.pooled', '${mark}', false)`)
      const seen = await look(other)
      if (seen.startsWith(marks) || (await look(one)) !== mark) return true
    }
    return false
  } catch (error) {
    // What this connection prepared is unknown to the session that it got.
    if (isStalePlan(error)) return true
    throw error
  }
}
