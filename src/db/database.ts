import type { SQL } from 'drizzle-orm'

/**
 * What a statement may see. A tenant's scope sees that tenant's rows alone (row-level security);
 * 'system' sees tenants, users and revocations of all tenants, adds to the audit trail and sees nothing else, and is
 * meant for sign-in and the platform's routes; 'streams' sees where lists of all tenants stand, for comparing live
 * streams with the database; 'housekeeping' sees and clears away what has had its time, in all tenants. Each use of
 * them stands out by that word. A caller (features/auth/actor.ts) is a tenant's scope whose request is known.
 */
export type Scope =
  | { readonly tenantId: string; readonly requestId?: string | null }
  | 'system'
  | 'streams'
  | 'housekeeping'

export type TransactionKind = 'read write' | 'snapshot'

export type Query = <Row>(statement: SQL<Row>) => Promise<Row[]>

/**
 * The one way to the database, embedded or PostgreSQL. Statements are Drizzle `sql` templates; json and jsonb
 * parameters are passed as JSON text.
 * Failures: ConstraintError (db/errors.ts) when a named constraint refuses a row; AppError `database_unavailable`
 * when the connection is lost, cannot be had, or the deadline passes; anything else is a fault of the program.
 */
export interface Database {
  readonly kind: 'embedded' | 'postgres'
  /** One read-only statement, one round trip, prepared; tried once more when the connection breaks under it. */
  read<Row>(scope: Scope, statement: SQL<Row>): Promise<Row[]>
  /**
   * Statements in one transaction and one round trip, prepared; none can depend on another's answer.
   * Each sees what was committed before it started, so a first statement that locks a row gives the next ones
   * a fresh view. Answers the rows of the last. Never retried.
   */
  write<Row>(scope: Scope, ...statements: [...SQL[], SQL<Row>]): Promise<Row[]>
  /**
   * An interactive transaction, for what must look before it leaps. Rolled back when `work` throws.
   * A 'snapshot' only reads, and all its statements see one moment, that of its first.
   */
  transaction<T>(scope: Scope, work: (query: Query) => Promise<T>, kind?: TransactionKind): Promise<T>
  close(): Promise<void>
}

export interface PoolStats {
  connections: number
  /** As many as there can be. */
  connectionLimit: number
  /** Calls under way. */
  calls: number
  /** Transactions that wait for a connection of their own. */
  waiting: number
}

export type MeasuredDatabase = Database & { stats(): PoolStats }

/** A connection of the migrating user, for nothing else meanwhile. */
export interface MigrationConnection {
  /** One statement. @throws what databaseError makes of the driver's error */
  query(text: string, parameters?: string[]): Promise<Record<string, unknown>[]>
}
