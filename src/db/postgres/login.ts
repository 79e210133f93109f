/**
 * Signing in to a PostgreSQL server at start: waiting for it, checking its version, and deciding as whom the service
 * goes on, which must be someone to whom row-level security applies.
 */

import { OperatorError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { MigrationConnection } from '../database.ts'
import { databaseError, errorCode, isConnectionFailure, SignInRefused } from '../errors.ts'
import { answersOf, type Lane, openLane } from './connection.ts'

export interface LoginOptions {
  url: string
  /** How long to wait for a server that is away. */
  waitSeconds: number
  connectTimeoutSeconds: number
  log: Logger
}

export interface Login extends MigrationConnection {
  close(): Promise<void>
}

const applicationRole = 'minimart_app'
const oldestVersion = 15
const pauseMs = 500

/**
 * A connection as the user of the URL, as which migrations run; nothing limits how long a statement takes.
 * @throws OperatorError when the server stays away, lets nobody in, or is too old
 */
export async function signIn(options: LoginOptions): Promise<Login> {
  const giveUpAt = performance.now() + options.waitSeconds * 1000
  for (let attempt = 1; ; attempt += 1) {
    const login = connectionOn(openLogin(options, null))
    try {
      await ensureVersion(login)
      return withMappedErrors(login)
    } catch (error) {
      await login.close()
      if (error instanceof OperatorError) throw error
      if (!comesBack(error)) throw explain(options, error)
      if (performance.now() + pauseMs > giveUpAt) throw stayedAway(options, error)
      if (attempt === 1)
        options.log.warn('Waiting for the database', {
          address: addressOf(options),
          error: databaseError(error),
        })
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
    }
  }
}

/**
 * The role to take, or null to go on as the user of the URL where `minimart_app` cannot be had or may not use the
 * tables. Superusers and whoever else row-level security does not apply to must take it.
 * @throws OperatorError when that is not possible
 */
export async function chooseRole(options: LoginOptions): Promise<string | null> {
  for (const role of [applicationRole, null]) {
    const connection = connectionOn(openLogin(options, role))
    try {
      const [user] = await connection.query(inspectUser)
      if (user?.['subject'] === true && user['entitled'] === true) return role
    } catch (error) {
      // 22023: no such role; 42501: not a member of it.
      if (!['22023', '42501'].includes(errorCode(error))) throw databaseError(error)
    } finally {
      await connection.close()
    }
  }
  throw notSubject()
}

/** @throws OperatorError where chooseRole is going to, whatever the migrations do: before anything is changed */
export async function ensureMayStepDown(login: MigrationConnection): Promise<void> {
  const [user] = await login.query(inspectMembership)
  if (user?.['stuck'] === true) throw notSubject()
}

const inspectMembership = `
  select rolbypassrls and not (rolsuper or rolcreaterole) and not exists (
    select from pg_roles where rolname = '${applicationRole}' and pg_has_role(current_user, oid, 'MEMBER')) as stuck
  from pg_roles where rolname = current_user`

const notSubject = (): OperatorError =>
  new OperatorError(
    'Row-level security, which keeps the tenants apart, would not apply: the user of DATABASE_URL is a superuser or ' +
      `has BYPASSRLS, and cannot take the role ${applicationRole}. Run the migrations as a user who may create that ` +
      'role, or use an ordinary user that owns the database.',
  )

/** Before the first migration there are no tables to be entitled to. */
const inspectUser = `
  select not (rolsuper or rolbypassrls) as subject,
    to_regclass('tenants') is null or has_table_privilege(current_user, to_regclass('tenants'), 'SELECT') as entitled
  from pg_roles where rolname = current_user`

const openLogin = ({ url, connectTimeoutSeconds }: LoginOptions, role: string | null): Lane =>
  openLane({
    url,
    connectTimeoutSeconds,
    parameters: {
      application_name: 'minimart migrations',
      statement_timeout: '0',
      ...(role === null ? {} : { role }),
    },
  })

const connectionOn = (lane: Lane): Login => ({
  query: async (text, parameters = []) => {
    const [answer] = answersOf(await lane.send([{ text, parameters }]))
    return answer?.rows ?? []
  },
  close: () => lane.end(2),
})

const withMappedErrors = ({ query, close }: Login): Login => ({
  query: (text, parameters) =>
    query(text, parameters).catch((error) => {
      throw databaseError(error, text)
    }),
  close,
})

async function ensureVersion(login: MigrationConnection): Promise<void> {
  const [row] = await login.query(
    `select current_setting('server_version_num')::integer as number, current_setting('server_version') as name`,
  )
  if (Number(row?.['number']) < oldestVersion * 10_000)
    throw new OperatorError(
      `This server runs PostgreSQL ${row?.['name']}; MiniMart needs ${oldestVersion} or later.`,
    )
}

/** Away, starting up, or out of connections. */
const comesBack = (error: unknown): boolean => isConnectionFailure(error) || errorCode(error).startsWith('53')

const addressOf = ({ url }: LoginOptions): string => new URL(url).host

const stayedAway = (options: LoginOptions, error: unknown): OperatorError =>
  new OperatorError(
    `PostgreSQL at ${addressOf(options)} did not answer${options.waitSeconds > 0 ? ` within ${options.waitSeconds} s` : ''} ` +
      `(${errorCode(error)}). ` +
      'Check DATABASE_URL and that the server runs.',
    { cause: databaseError(error) },
  )

const explain = (options: LoginOptions, error: unknown): Error =>
  /^(28|3D)/.test(errorCode(error))
    ? new SignInRefused(
        `PostgreSQL at ${addressOf(options)} refuses the sign-in: ${error instanceof Error ? error.message : ''}. ` +
          'Check user, password and database name in DATABASE_URL.',
      )
    : databaseError(error)
