/**
 * Prepared statements on PGlite's one session. PGlite's own `query` has PostgreSQL parse and plan each call anew, which
 * took half of the time that adding an item takes.
 */
import type { PGlite } from '@electric-sql/pglite'
import { databaseError, isStalePlan } from '../errors.ts'
import type { Statement } from '../statement.ts'
import { literal, runStatement } from './pglite.ts'

type Rows = Record<string, unknown>[]

/** What is sent once is not worth it. The texts of statements do not vary with data, so there are far fewer. */
const maxPrepared = 500
/** Only an ANALYZE (maintenance.ts) tells PostgreSQL that a table has grown and a plan made for a small one should go. */
const usesOfAPlan = 500
/** Of the other statements none can be prepared. */
const preparable = /^\s*(select|insert|update|delete|with)\b/i

/** @returns runs a statement as `runStatement` does */
export function createPrepared(pglite: PGlite): (statement: Statement) => Promise<Rows> {
  /** By text, in the order of their last use; `name` is null before the second one. */
  const known = new Map<string, { name: string | null; uses: number }>()
  let made = 0

  const forget = async (text: string): Promise<void> => {
    const name = known.get(text)?.name
    known.delete(text)
    if (name) await pglite.exec(`deallocate ${name}`)
  }
  const prepare = async (text: string): Promise<string> => {
    made += 1
    const name = `statement_${made}`
    await pglite.exec(`prepare ${name} as ${text}`)
    return name
  }

  /** Its name, or null where it is to be run as it is. */
  const nameOf = async ({ text, parameters }: Statement): Promise<string | null> => {
    // A NUL would end the text of a command.
    if (!preparable.test(text) || parameters.some((value) => value?.includes('\0'))) return null
    if ((known.get(text)?.uses ?? 0) >= usesOfAPlan) await forget(text)
    const { name, uses } = known.get(text) ?? { name: null, uses: 0 }
    const used = { name: uses === 0 ? null : (name ?? (await prepare(text))), uses: uses + 1 }
    known.delete(text)
    known.set(text, used)
    const { value: oldest } = known.keys().next()
    if (known.size > maxPrepared && oldest !== undefined) await forget(oldest)
    return used.name
  }

  return async (statement) => {
    const { text, parameters } = statement
    try {
      const name = await nameOf(statement)
      if (name === null) return await runStatement(pglite, statement)
      const values = parameters.map((value) => (value === null ? 'null' : literal(value)))
      const [result] = await pglite.exec(
        `execute ${name}${values.length > 0 ? `(${values.join(', ')})` : ''}`,
      )
      return result?.rows ?? []
    } catch (error) {
      if (isStalePlan(error)) known.delete(text)
      throw databaseError(error, text)
    }
  }
}
