import type { SQL } from 'drizzle-orm'

/**
 * Which rows a statement may see and change, enforced by row-level security:
 * - a tenant's scope: that tenant's rows
 * - 'system', for sign-in and the platform's routes: tenants, users and revocations of all tenants; it may add to the
 *   audit log and to the mails that wait, not read them
 * - 'streams', for comparing live streams with the database, and finding what is to be counted: every list and event
 * - 'outbox', for sending mails: those of all tenants that wait
 * - 'housekeeping', for deleting what has expired: users, revocations, events and audit entries of all tenants; it may
 *   change lists, for their count of events' bytes
 *
 * A Caller (access/actor.ts) is a tenant's scope that also names its request.
 */
export type Scope =
  | {
      readonly tenantId: string
      readonly requestId?: string | null
      /** Of a write: the row that it locks first. Writes of one row wait for each other here, not on connections. */
      readonly row?: LockedRow
    }
  | 'system'
  | 'streams'
  | 'outbox'
  | 'housekeeping'

export interface LockedRow {
  /** Its id; or, with `find`, what stands for it until the lock turns out to be taken. */
  readonly name: string
  /** Asks for its id. */
  readonly find?: () => Promise<string>
}

export type TransactionKind = 'read write' | 'snapshot'

export type Query = <Row>(statement: SQL<Row>) => Promise<Row[]>

/**
 * The one way to the database, embedded or PostgreSQL. Statements are Drizzle `sql` templates; json and jsonb
 * parameters are passed as JSON text.
 *
 * Every call rejects with ConstraintError (db/errors.ts) when a named constraint refuses a row, and with AppError
 * `database_unavailable` when the connection is lost, none can be had or the deadline passes, `busy` when too many
 * calls wait. Anything else is a bug.
 */
export interface Database {
  readonly kind: 'embedded' | 'postgres'
  /** One read-only statement, prepared, in one round trip; retried once when its connection breaks. */
  read<Row>(scope: Scope, statement: SQL<Row>): Promise<Row[]>
  /** The same ahead of all other calls, for those on whom the service itself depends: at most a few at a time. */
  readUrgent<Row>(scope: Scope, statement: SQL<Row>): Promise<Row[]>
  /**
   * Statements in one transaction, prepared, in one round trip; none can use another's result. Never retried.
   * Each sees what was committed before it started, so when the first locks a row the next ones get a fresh view.
   * @returns the rows of the last statement
   */
  write<Row>(scope: Scope, ...statements: [...SQL[], SQL<Row>]): Promise<Row[]>
  /**
   * An interactive transaction, for work that must read before it decides. Rolled back when `work` throws.
   * A 'snapshot' is read-only, and all its statements see the database as of the first.
   */
  transaction<T>(scope: Scope, work: (query: Query) => Promise<T>, kind?: TransactionKind): Promise<T>
  close(): Promise<void>
}

export interface PoolStats {
  connections: number
  connectionLimit: number
  /** Calls that wait in this process for a connection, or for the embedded database's one session. */
  waiting: number
}

/** What db/postgres and db/embedded implement; db/instrumented.ts wraps it. */
export interface DatabaseAdapter extends Database {
  stats(): PoolStats
}

/** A connection as the migrating user, used for nothing else meanwhile. */
export interface MigrationConnection {
  /** One statement. @throws the error as `databaseError` (db/errors.ts) maps it */
  query(text: string, parameters?: string[]): Promise<Record<string, unknown>[]>
}
