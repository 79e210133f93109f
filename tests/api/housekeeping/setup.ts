/** Housekeeping with a clock that can be advanced. It affects all tenants, so never run it on the shared server. */
import { type SQL, sql } from 'drizzle-orm'
import { loadConfig } from '../../../src/config/config.ts'
import type { Scope } from '../../../src/db/database.ts'
import {
  createHousekeeping,
  type Housekeeping,
  type HousekeepingOptions,
} from '../../../src/features/housekeeping/job.ts'
import { createMailer } from '../../../src/mail/mailer.ts'
import type { TestServer } from '../../support/server.ts'

/** The database's time in this many days. */
export const inDays = (days: number): SQL =>
  sql`(statement_timestamp() + make_interval(days => ${days}::int))`

/** This server's job, with overrides. */
export const housekeepingOf = (
  { running: { deps, keptBytes }, log, environment }: TestServer,
  options: Partial<HousekeepingOptions> = {},
): Housekeeping => {
  const { db, store, limits } = deps
  const config = loadConfig(environment)
  const mailer = createMailer({ config, dataDir: config.dataDir, log })
  return createHousekeeping({ config, db, store, mailer, limits, keptBytes, log, ...options })
}

export const roundIn = (server: TestServer, days: number, options: Partial<HousekeepingOptions> = {}) =>
  housekeepingOf(server, { now: inDays(days), ...options }).run()

/** Queries the database directly, with the service's role. */
export const rowsOf = <Row>({ running }: TestServer, scope: Scope, statement: SQL<Row>): Promise<Row[]> =>
  running.deps.db.write(scope, statement)
