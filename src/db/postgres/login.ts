/**
 * Signing in to a PostgreSQL server at start: waits for it, checks its version and that its sessions are ours, and
 * decides as which role the service works, which must be one that row-level security applies to.
 */

import pRetry from 'p-retry'
import pTimeout from 'p-timeout'
import { OperatorError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { databaseError, errorCode, isConnectionFailure, SignInRefused, StatementError } from '../errors.ts'
import { applicationRole } from '../migrations/role.ts'
import { openConnection, resultsOf } from './connection.ts'
import type { StatementResult } from './driver.ts'
import { type Ask, SessionsShared, sharesSessions } from './pooler.ts'

export interface LoginOptions {
  url: string
  /** How long to wait for a server that cannot be reached; 0 tries once. */
  waitSeconds: number
  connectTimeoutSeconds: number
  log: Logger
}

export interface Login extends MigrationConnection {
  close(): Promise<void>
}

const oldestVersion = 15
const retryEveryMs = 500

/**
 * A connection as the user of the URL, as which migrations run; statements have no timeout.
 * @throws OperatorError when the server cannot be reached, refuses the sign-in, or is too old
 */
export async function signIn(options: LoginOptions): Promise<Login> {
  try {
    return await pRetry(() => tryLogin(options), {
      retries: Number.POSITIVE_INFINITY,
      minTimeout: retryEveryMs,
      factor: 1,
      maxRetryTime: options.waitSeconds * 1000,
      shouldRetry: ({ error }) => isTemporary(error),
      onFailedAttempt: ({ error, attemptNumber, retryDelay }) => {
        if (attemptNumber === 1 && retryDelay > 0 && isTemporary(error)) logWait(options, error)
      },
    })
  } catch (error) {
    throw explain(options, error)
  }
}

/**
 * The role to take: the database's own, or null to stay the user of the URL where that role cannot be taken or has no
 * rights on the tables.
 * @throws OperatorError when row-level security would apply to neither
 */
export async function chooseRole(login: MigrationConnection): Promise<string | null> {
  const role = await applicationRole(login)
  if ((await take(login, role)) && (await isUsable(login))) return role
  await login.query('reset role')
  if (await isUsable(login)) return null
  throw wouldBypassTenancy(role)
}

async function take(login: MigrationConnection, role: string): Promise<boolean> {
  try {
    await login.query(`set role ${role}`)
    return true
  } catch (error) {
    if (error instanceof StatementError && notTakable.has(error.sqlState)) return false
    throw error
  }
}

/** No such role; not a member of it. */
const notTakable: ReadonlySet<string> = new Set(['22023', '42501'])

const isUsable = async (login: MigrationConnection): Promise<boolean> => {
  const [user] = await login.query(inspectUser)
  return user?.['subject'] === true && user['entitled'] === true
}

/** Before the first migration there are no tables to have rights on. */
const inspectUser = `
  select not (rolsuper or rolbypassrls) as subject,
    to_regclass('tenants') is null or has_table_privilege(current_user, to_regclass('tenants'), 'SELECT') as entitled
  from pg_roles where rolname = current_user`

/**
 * Run before migrations, so that nothing is changed for a user who cannot go on afterwards.
 * @throws OperatorError where chooseRole would, whatever the migrations do
 */
export async function ensureCanStepDown(login: MigrationConnection): Promise<void> {
  const role = await applicationRole(login)
  const [user] = await login.query(`
    select rolbypassrls and not (rolsuper or rolcreaterole) and not exists (
      select from pg_roles where rolname = '${role}' and pg_has_role(current_user, oid, 'MEMBER')) as stuck
    from pg_roles where rolname = current_user`)
  if (user?.['stuck'] === true) throw wouldBypassTenancy(role)
}

const wouldBypassTenancy = (role: string): OperatorError =>
  new OperatorError(
    'Row-level security, which keeps the tenants apart, would not apply: the user of DATABASE_URL is a superuser or ' +
      `has BYPASSRLS, and cannot take the role ${role}. Run minimart migrate up as a user who may create that role, ` +
      `let an administrator do so (CREATE ROLE ${role}; GRANT ${role} TO …) and run it then, or use an ordinary user ` +
      'that owns the database.',
  )

async function tryLogin(options: LoginOptions): Promise<Login> {
  const login = openLogin(options)
  try {
    const { rows, announcedPid } = await login.run(selectServer)
    ensureVersion(rows)
    if (announcedPid !== rows[0]?.['pid']) await ensureOwnSessions(options, login)
  } catch (error) {
    await login.close()
    throw error
  }
  return {
    query: async (text, parameters) => {
      try {
        return (await login.run(text, parameters)).rows
      } catch (error) {
        throw databaseError(error, text)
      }
    },
    close: login.close,
  }
}

interface RawLogin {
  /** Rejects with the driver's own errors. */
  run(text: string, parameters?: string[]): Promise<StatementResult>
  close(): Promise<void>
}

function openLogin({ url, connectTimeoutSeconds }: LoginOptions): RawLogin {
  const connection = openConnection({
    url,
    connectTimeoutSeconds,
    settings: { application_name: 'minimart migrations', statement_timeout: '0' },
  })
  return {
    run: async (text, parameters = []) => {
      const [result] = resultsOf(await connection.send([{ text, parameters }]))
      if (result === undefined) throw new Error('a statement had no result')
      return result
    },
    close: () => connection.end(2),
  }
}

/** For a login through a pooler. @throws SessionsShared, CONNECT_TIMEOUT where it has no session for a second one */
async function ensureOwnSessions(options: LoginOptions, login: RawLogin): Promise<void> {
  const second = openLogin(options)
  const ask =
    ({ run }: RawLogin): Ask =>
    async (text) =>
      (await run(text)).rows
  try {
    const fallback = (): never => {
      throw Object.assign(new Error('The pooler gave no second session.'), { code: 'CONNECT_TIMEOUT' })
    }
    const milliseconds = options.connectTimeoutSeconds * 1000
    if (await pTimeout(sharesSessions(ask(login), ask(second)), { milliseconds, fallback }))
      throw new SessionsShared(
        `PostgreSQL at ${addressOf(options)} is behind a connection pooler that gives one connection the sessions of ` +
          'others (PgBouncer: pool_mode transaction or statement). Use pool_mode session, or connect to PostgreSQL directly.',
      )
  } finally {
    await second.close()
  }
}

const selectServer = `select current_setting('server_version_num')::integer as number,
  current_setting('server_version') as name, pg_backend_pid() as pid`

function ensureVersion([row]: Record<string, unknown>[]): void {
  if (Number(row?.['number']) < oldestVersion * 10_000)
    throw new OperatorError(
      `This server runs PostgreSQL ${row?.['name']}; MiniMart needs ${oldestVersion} or later.`,
    )
}

/** Unreachable, starting up, or out of connections. */
const isTemporary = (error: unknown): boolean =>
  isConnectionFailure(error) || errorCode(error).startsWith('53')

const addressOf = ({ url }: LoginOptions): string => new URL(url).host

const logWait = (options: LoginOptions, error: unknown): void =>
  options.log.warn('Waiting for the database', { address: addressOf(options), error: databaseError(error) })

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : '')

function explain(options: LoginOptions, error: unknown): Error {
  if (error instanceof OperatorError) return error
  if (/^(28|3D)/.test(errorCode(error)))
    return new SignInRefused(
      `PostgreSQL at ${addressOf(options)} refuses the sign-in: ${messageOf(error)}. ` +
        'Check user, password and database name in DATABASE_URL.',
    )
  if (!isTemporary(error)) return databaseError(error)
  // PgBouncer has this one code for whatever it refuses.
  const reason = errorCode(error) === '08P01' ? `08P01: ${messageOf(error)}` : errorCode(error)
  const waited = options.waitSeconds > 0 ? ` within ${options.waitSeconds} s` : ''
  return new OperatorError(
    `PostgreSQL at ${addressOf(options)} did not answer${waited} (${reason}). ` +
      'Check DATABASE_URL and that the server is running.',
    { cause: databaseError(error) },
  )
}
