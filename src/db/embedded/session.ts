/** The one session of an embedded database: tenancy and transactions on it, one caller at a time. */
import type { PGlite } from '@electric-sql/pglite'
import type { SQL } from 'drizzle-orm'
import type { Query, Scope, TransactionKind } from '../database.ts'
import { databaseError, databaseUnavailable } from '../errors.ts'
import { beginOf, compileStatement, type Statement } from '../statement.ts'
import { settings } from '../tenancy.ts'
import { endProcess } from './fail-stop.ts'

type Rows = Record<string, unknown>[]

/** A write of a shared transaction and how it went; `settle` is called when the commit is known. */
export interface WriteInBatch {
  readonly scope: Scope
  readonly statements: readonly Statement[]
  settle(outcome: { rows: Rows } | { error: unknown }): void
}

export interface EmbeddedSession {
  read(scope: Scope, statement: Statement): Promise<Rows>
  /** One commit for all; a write that fails is undone alone, a commit that fails fails them all. Never rejects. */
  writeTogether(writes: readonly WriteInBatch[]): Promise<void>
  /** `giveUp` ends it from outside: it is rolled back and rejects with the reason, whatever `work` is doing. */
  transaction<T>(
    scope: Scope,
    work: (query: Query) => Promise<T>,
    giveUp: AbortSignal,
    kind?: TransactionKind,
  ): Promise<T>
}

/** Steps down to the role that row-level security applies to, and to read-only but for explicit transactions. */
export async function createEmbeddedSession(pglite: PGlite): Promise<EmbeddedSession> {
  await pglite.exec(stepDown)
  let scopeInForce: string | undefined

  const run = async ({ text, parameters }: Statement): Promise<Rows> => {
    try {
      return (await pglite.query<Rows[number]>(text, parameters)).rows
    } catch (error) {
      throw databaseError(error, text)
    }
  }
  /** What cannot even be undone must not be gone on with. */
  const rollBack = async (): Promise<void> => {
    await pglite.exec('rollback').catch((error: unknown) => endProcess(String(error)))
  }
  const writeOne = async ({
    scope,
    statements,
  }: WriteInBatch): Promise<{ rows: Rows } | { error: unknown }> => {
    await pglite.exec(`savepoint one_write; ${setScope(scope, true)}`)
    try {
      let rows: Rows = []
      for (const statement of statements) rows = await run(statement)
      await pglite.exec('release savepoint one_write')
      return { rows }
    } catch (error) {
      await pglite.exec('rollback to savepoint one_write; release savepoint one_write')
      return { error }
    }
  }

  return {
    read: async (scope, statement) => {
      const settings = setScope(scope, false)
      if (scopeInForce !== settings) {
        scopeInForce = undefined
        await pglite.exec(settings)
        scopeInForce = settings
      }
      return await run(statement)
    },
    writeTogether: async (writes) => {
      const outcomes: ({ rows: Rows } | { error: unknown })[] = []
      try {
        await pglite.exec('begin read write')
        for (const write of writes) outcomes.push(await writeOne(write))
        await pglite.exec('commit')
      } catch (error) {
        await rollBack()
        outcomes.splice(0, outcomes.length, ...writes.map(() => ({ error: databaseError(error) })))
      }
      for (const [index, write] of writes.entries())
        write.settle(outcomes[index] ?? { error: new Error('no outcome') })
    },
    transaction: async (scope, work, giveUp, kind = 'read write') => {
      let failed = false
      let over = false
      const query: Query = async <Row>(statement: SQL<Row>) => {
        if (over) throw databaseUnavailable('The transaction is over.')
        try {
          return (await run(compileStatement(statement))) as Row[]
        } catch (error) {
          failed = true
          throw error
        }
      }
      try {
        await pglite.exec(`${beginOf[kind]}; ${setScope(scope, true)}`)
        const result = await Promise.race([work(query), aborted(giveUp)])
        over = true
        if (failed)
          throw new Error('The transaction was rolled back: a statement failed and its error was passed over')
        await pglite.exec('commit')
        return result
      } catch (error) {
        over = true
        await rollBack()
        throw error
      }
    },
  }
}

/** The role is made by migration 0001; before it, by this. */
const stepDown = `
  do $$ begin
    if not exists (select from pg_roles where rolname = 'minimart_app') then create role minimart_app nologin; end if;
  end $$;
  set default_transaction_read_only = on;
  set role minimart_app`

const setScope = (scope: Scope, forTransaction: boolean): string => {
  const [tenant, name] = settings(scope)
  return `select set_config('app.tenant_id', ${literal(tenant)}, ${forTransaction}), set_config('app.scope', '${name}', ${forTransaction})`
}

/** standard_conforming_strings is on: only the quote is special. */
const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
