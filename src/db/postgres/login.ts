/**
 * Signing in to a PostgreSQL server at start: waits for it, checks its version, and decides as which role the service
 * works, which must be one that row-level security applies to.
 */

import pRetry from 'p-retry'
import { OperatorError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { databaseError, errorCode, isConnectionFailure, SignInRefused } from '../errors.ts'
import { openConnection, resultsOf } from './connection.ts'

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

const applicationRole = 'minimart_app'
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
 * The role to take: `minimart_app`, or null to stay the user of the URL where that role cannot be taken or has no rights
 * on the tables.
 * @throws OperatorError when row-level security would apply to neither
 */
export async function chooseRole(options: LoginOptions): Promise<string | null> {
  for (const role of [applicationRole, null]) {
    const login = openLogin(options, role)
    try {
      const [user] = await login.query(inspectUser)
      if (user?.['subject'] === true && user['entitled'] === true) return role
    } catch (error) {
      // 22023: no such role; 42501: not a member of it.
      if (!['22023', '42501'].includes(errorCode(error))) throw databaseError(error)
    } finally {
      await login.close()
    }
  }
  throw wouldBypassTenancy()
}

/**
 * Run before migrations, so that nothing is changed for a user who cannot go on afterwards.
 * @throws OperatorError where chooseRole would, whatever the migrations do
 */
export async function ensureCanStepDown(login: MigrationConnection): Promise<void> {
  const [user] = await login.query(inspectMembership)
  if (user?.['stuck'] === true) throw wouldBypassTenancy()
}

const inspectMembership = `
  select rolbypassrls and not (rolsuper or rolcreaterole) and not exists (
    select from pg_roles where rolname = '${applicationRole}' and pg_has_role(current_user, oid, 'MEMBER')) as stuck
  from pg_roles where rolname = current_user`

const wouldBypassTenancy = (): OperatorError =>
  new OperatorError(
    'Row-level security, which keeps the tenants apart, would not apply: the user of DATABASE_URL is a superuser or ' +
      `has BYPASSRLS, and cannot take the role ${applicationRole}. Run the migrations as a user who may create that ` +
      'role, or use an ordinary user that owns the database.',
  )

/** Before the first migration there are no tables to have rights on. */
const inspectUser = `
  select not (rolsuper or rolbypassrls) as subject,
    to_regclass('tenants') is null or has_table_privilege(current_user, to_regclass('tenants'), 'SELECT') as entitled
  from pg_roles where rolname = current_user`

async function tryLogin(options: LoginOptions): Promise<Login> {
  const { query, close } = openLogin(options, null)
  try {
    ensureVersion(await query(selectVersion))
  } catch (error) {
    await close()
    throw error
  }
  return {
    query: (text, parameters) =>
      query(text, parameters).catch((error) => {
        throw databaseError(error, text)
      }),
    close,
  }
}

/** Its queries reject with the driver's own errors. */
function openLogin({ url, connectTimeoutSeconds }: LoginOptions, role: string | null): Login {
  const connection = openConnection({
    url,
    connectTimeoutSeconds,
    parameters: {
      application_name: 'minimart migrations',
      statement_timeout: '0',
      ...(role === null ? {} : { role }),
    },
  })
  return {
    query: async (text, parameters = []) => {
      const [result] = resultsOf(await connection.send([{ text, parameters }]))
      return result?.rows ?? []
    },
    close: () => connection.end(2),
  }
}

const selectVersion = `select current_setting('server_version_num')::integer as number,
  current_setting('server_version') as name`

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

function explain(options: LoginOptions, error: unknown): Error {
  if (error instanceof OperatorError) return error
  if (/^(28|3D)/.test(errorCode(error)))
    return new SignInRefused(
      `PostgreSQL at ${addressOf(options)} refuses the sign-in: ${error instanceof Error ? error.message : ''}. ` +
        'Check user, password and database name in DATABASE_URL.',
    )
  if (!isTemporary(error)) return databaseError(error)
  const waited = options.waitSeconds > 0 ? ` within ${options.waitSeconds} s` : ''
  return new OperatorError(
    `PostgreSQL at ${addressOf(options)} did not answer${waited} (${errorCode(error)}). ` +
      'Check DATABASE_URL and that the server is running.',
    { cause: databaseError(error) },
  )
}
