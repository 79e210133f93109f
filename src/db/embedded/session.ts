/** The one session of an embedded database: tenancy and transactions on it, one caller at a time. */
import type { PGlite } from '@electric-sql/pglite'
import type { SQL } from 'drizzle-orm'
import pTimeout from 'p-timeout'
import type { MigrationConnection, Query, Scope, TransactionKind } from '../database.ts'
import { databaseError, errorSwallowed, transactionOver } from '../errors.ts'
import { applicationRole } from '../migrations/role.ts'
import { beginSql, compileStatement, type Statement } from '../statement.ts'
import { scopeSettings } from '../tenancy.ts'
import { endProcess } from './fail-stop.ts'
import { connectionTo, literal } from './pglite.ts'
import { createPrepared } from './prepared.ts'

type Rows = Record<string, unknown>[]

type Run = ReturnType<typeof createPrepared>

type WriteOutcome = { rows: Rows } | { error: unknown }

export interface WriteInBatch {
  readonly scope: Scope
  readonly statements: readonly Statement[]
  /** Called once the commit has succeeded or failed. */
  settle(outcome: WriteOutcome): void
}

export interface EmbeddedSession {
  read(scope: Scope, statement: Statement): Promise<Rows>
  /** One commit for all. A write that fails is undone alone; a commit that fails fails them all. Never rejects. */
  writeTogether(writes: readonly WriteInBatch[]): Promise<void>
  /** @param giveUp rolls it back and makes it reject with the signal's reason, whatever `work` is doing */
  transaction<T>(
    scope: Scope,
    work: (query: Query) => Promise<T>,
    giveUp: AbortSignal,
    kind?: TransactionKind,
  ): Promise<T>
  /** Runs `work`, outside a transaction, as the role that opened the database. */
  asOwner<T>(work: (owner: MigrationConnection) => Promise<T>): Promise<T>
}

/** Steps down to the role that row-level security applies to, and to read-only outside explicit transactions. */
export async function createEmbeddedSession(pglite: PGlite): Promise<EmbeddedSession> {
  const role = await applicationRole(connectionTo(pglite))
  await pglite.exec(stepDown(role))
  const run = createPrepared(pglite)
  let scopeInForce: string | undefined
  return {
    read: async (scope, statement) => {
      const setting = setScope(scope, false)
      if (scopeInForce !== setting) {
        scopeInForce = undefined
        await pglite.exec(setting)
        scopeInForce = setting
      }
      return await run(statement)
    },
    writeTogether: (writes) => writeTogether(pglite, run, writes),
    transaction: (scope, work, giveUp, kind) => runTransaction(pglite, run, scope, work, giveUp, kind),
    asOwner: async (work) => {
      await pglite.exec('set role none')
      return await work(connectionTo(pglite)).finally(() => surely(pglite, `set role ${role}`))
    },
  }
}

/** The migrations create the role; a database that has not got that far yet has none. */
const stepDown = (role: string): string => `
  do $$ begin
    if to_regrole('${role}') is null then create role ${role} nologin; end if;
  end $$;
  set default_transaction_read_only = on;
  set role ${role}`

async function writeTogether(pglite: PGlite, run: Run, writes: readonly WriteInBatch[]): Promise<void> {
  const outcomes: WriteOutcome[] = []
  try {
    await pglite.exec(beginSql['read write'])
    for (const write of writes) outcomes.push(await writeOne(pglite, run, write))
    await pglite.exec('commit')
  } catch (error) {
    await rollBack(pglite)
    outcomes.splice(0, outcomes.length, ...writes.map(() => ({ error: databaseError(error) })))
  }
  for (const [index, write] of writes.entries())
    write.settle(outcomes[index] ?? { error: new Error('no outcome') })
}

async function writeOne(
  pglite: PGlite,
  run: Run,
  { scope, statements }: WriteInBatch,
): Promise<WriteOutcome> {
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

async function runTransaction<T>(
  pglite: PGlite,
  run: Run,
  scope: Scope,
  work: (query: Query) => Promise<T>,
  giveUp: AbortSignal,
  kind: TransactionKind = 'read write',
): Promise<T> {
  let failed = false
  let over = false
  const query: Query = async <Row>(statement: SQL<Row>) => {
    if (over) throw transactionOver()
    try {
      return (await run(compileStatement(statement))) as Row[]
    } catch (error) {
      failed = true
      throw error
    }
  }
  try {
    await pglite.exec(`${beginSql[kind]}; ${setScope(scope, true)}`)
    const result = await pTimeout(work(query), { milliseconds: Number.POSITIVE_INFINITY, signal: giveUp })
    over = true
    if (failed) throw errorSwallowed()
    await pglite.exec('commit')
    return result
  } catch (error) {
    over = true
    await rollBack(pglite)
    throw error
  }
}

const rollBack = (pglite: PGlite): Promise<void> => surely(pglite, 'rollback')

/** When not even this works the session's state is unknown, and it must not be used any further. */
async function surely(pglite: PGlite, command: string): Promise<void> {
  await pglite.exec(command).catch((error: unknown) => endProcess(String(error)))
}

const setScope = (scope: Scope, forTransaction: boolean): string => {
  const [tenantId, name] = scopeSettings(scope)
  return `select set_config('app.tenant_id', ${literal(tenantId)}, ${forTransaction}), set_config('app.scope', '${name}', ${forTransaction})`
}
