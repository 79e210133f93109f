/**
 * Taps the database: records the statements sent in each scope, and can strip their tenant predicates.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Database, Query, Scope } from '../../../src/db/database.ts'
import { compileStatement } from '../../../src/db/statement.ts'

export interface Tap {
  /** Statements sent in a tenant's or the streams' scope since the last `clear`. */
  readonly seen: ReadonlySet<string>
  clear(): void
  /** Strips the tenant predicates of matching statements from now on. */
  weaken(which: (text: string) => boolean): void
}

/** These scopes are meant to see all tenants, so their tenant comparisons are no isolation predicates. */
const isFenced = (scope: Scope): boolean => scope !== 'system' && scope !== 'outbox'

export function tapDatabase(db: Database): Tap {
  const { read, write, transaction } = db
  const seen = new Set<string>()
  let weakened: (text: string) => boolean = () => false

  const pass = <Row>(scope: Scope, statement: SQL<Row>): SQL<Row> => {
    if (!isFenced(scope)) return statement
    const { text, parameters } = compileStatement(statement)
    seen.add(text)
    return weakened(text) ? rebuild<Row>(withoutPredicates(text), parameters) : statement
  }

  db.read = (scope, statement) => read(scope, pass(scope, statement))
  db.write = <Row>(scope: Scope, ...statements: [...SQL[], SQL<Row>]) =>
    write(scope, ...(statements.map((statement) => pass(scope, statement)) as [...SQL[], SQL<Row>]))
  db.transaction = (scope, work) =>
    transaction(scope, (query) => {
      const passed: Query = (statement) => query(pass(scope, statement))
      return work(passed)
    })
  return {
    seen,
    clear: () => seen.clear(),
    weaken(which) {
      weakened = which
    },
  }
}

/** Turns text and parameters back into an `SQL` that compiles to them. */
function rebuild<Row>(text: string, parameters: readonly (string | null)[]): SQL<Row> {
  const parts = text.split(/\$\d+/)
  if (parts.length !== parameters.length + 1) throw new Error(`a parameter was lost: ${text}`)
  const chunks = parts.flatMap((part, at) =>
    at === 0 ? [sql.raw(part)] : [sql.param(parameters[at - 1] ?? null), sql.raw(part)],
  )
  return sql<Row>`${sql.join(chunks)}`
}

const tenantOf = String.raw`(?:\w+\.)?(?:tenant_id|"tenantId")`

/** @throws Error for a predicate of an unknown form, rather than leave it in */
export function withoutPredicates(text: string): string {
  const without = text
    .replace(new RegExp(String.raw`(?<![\w.])${tenantOf} = (\$\d+)`, 'g'), '($1::uuid is not null)')
    .replace(new RegExp(String.raw`(?<![\w.])${tenantOf} = (?:${tenantOf}|\w+\.id\b)`, 'g'), 'true')
    .replace(new RegExp(String.raw`(?<![\w.])\w+\.id = ${tenantOf}`, 'g'), 'true')
    .replace(/(\bfrom tenants (?:(?:as )?\w+ )?where )(?:\w+\.)?id = (\$\d+)/g, '$1($2::uuid is not null)')
  const left = new RegExp(String.raw`${tenantOf}\s*\)?\s*(=|<>|in\b|is\b)|=\s*${tenantOf}`, 'i').exec(without)
  if (left) throw new Error(`a tenant predicate of an unknown form, "${left[0]}", in: ${text}`)
  return without
}

/**
 * Uses of a tenant's table that no predicate restricts to the tenant. Inserts are exempt: the row carries its tenant.
 * @param tables names of all tables with tenants' rows
 */
export function unfencedIn(text: string, tables: readonly string[]): string[] {
  const named = new RegExp(
    String.raw`(?:\b(?:from|join|update|using)\s+|,\s*)(${tables.join('|')})\b(?![.(])(?:\s+(?:as\s+)?(?!(?:${keywords})\b)(\w+))?`,
    'gi',
  )
  const used = new Map<string, number>()
  const tenants = new Set<string>()
  for (const [, table = '', alias = table] of text.matchAll(named)) {
    used.set(alias, (used.get(alias) ?? 0) + 1)
    if (table === 'tenants') tenants.add(alias)
  }
  return [...used].flatMap(([alias, times]) => {
    const column = tenants.has(alias) ? 'id' : 'tenant_id'
    const qualified = String.raw`\b${alias}\.${column}`
    const bare = tables.includes(alias) ? String.raw`|(?<![\w.])${column} = ` : ''
    const predicates = new RegExp(String.raw`${qualified} = |= ${qualified}\b${bare}`, 'g')
    return [...text.matchAll(predicates)].length < times ? [`${alias} in ${text}`] : []
  })
}

const keywords = 'where|set|on|join|left|right|cross|inner|order|group|limit|for|returning|lateral|union|and'
