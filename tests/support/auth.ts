/** Shared by the tests of signing in: unverified users, forged tokens, and a clock that can be moved forward. */
import { expect, setSystemTime } from 'bun:test'
import { createHmac } from 'node:crypto'
import { sql } from 'drizzle-orm'
import type { Database } from '../../src/db/database.ts'
import { type Answer, type Client, createClient } from './client.ts'
import { freshEmail, goodPassword, type Person, type Tenant } from './people.ts'
import type { TestServer } from './server.ts'
import { codeIn, linkIn } from './smtp.ts'
import { until } from './until.ts'

export interface Newcomer {
  id: string
  email: string
  /** The code mailed when the account was created. */
  code: string
}

/** A user created by the admin who has been mailed a code, but has not used it. */
export async function makeUnverified(server: TestServer, tenant: Tenant): Promise<Newcomer> {
  const email = freshEmail('newcomer')
  const answer = await tenant.admin.api.post('/users', {
    email,
    full_name: 'Newcomer',
    password: goodPassword,
  })
  expect(answer.status).toBe(201)
  return { id: answer.body.id, email, code: codeIn(await server.inbox.waitFor(email)) }
}

/** @param address of the client, where the server is behind a proxy */
export const login = (
  server: TestServer,
  email: string,
  password = goodPassword,
  address?: string,
): Promise<Answer> =>
  createClient(server.url).post(
    '/auth/login',
    { email, password },
    address === undefined ? {} : from(address),
  )

/** The headers of a call from this address, where the server is behind a proxy. */
export const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })

export const refresh = (server: TestServer, refreshToken: string): Promise<Answer> =>
  createClient(server.url).post('/auth/refresh', { refresh_token: refreshToken })

/** The same person's calls with another token, or on another instance. */
export const asBearer = (server: TestServer, token: string): Client => createClient(server.url, token)

/** Sessions of someone who signs in on so many more devices. */
export async function beginSessions(
  { running }: TestServer,
  { id: userId }: Pick<Person, 'id'>,
  { id: tenantId }: Pick<Tenant, 'id'>,
  count: number,
): Promise<void> {
  const origin = { sessionEpoch: 0, tenantEpoch: 0, address: '::1', userAgent: 'x'.repeat(200) }
  for (let begun = 0; begun < count; begun++)
    await running.deps.sessions.begin({ userId, tenantId, ...origin })
}

/** Requests a password reset and returns the token of the mailed link. */
export async function resetTokenFor(server: TestServer, email: string): Promise<string> {
  const asked = await createClient(server.url).post('/auth/forgot-password', { email })
  expect(asked.status).toBe(202)
  const mail = await server.inbox.waitFor(email, ({ subject }) => subject.includes('new MiniMart password'))
  return linkIn(mail).searchParams.get('token') ?? ''
}

/** Waits until no queued mail is due: only then does a missing mail prove anything. */
export async function allMailed({ running: { deps } }: TestServer): Promise<void> {
  const due = sql<{ due: boolean }>`
    select exists (select from mail_outbox where due_at < clock_timestamp() + interval '1 day') as due`
  await until(async () => (await deps.db.read('outbox', due))[0]?.due === false, 'an empty outbox')
}

/** Queues so many mails of a tenant that are never due, past the bound too. */
export const fillOutbox = (db: Database, tenantId: string, count: number): Promise<unknown> =>
  db.transaction('outbox', async (query) => {
    // As the owner, whose session can leave out triggers.
    await query(sql`set local role none`)
    await query(sql`set local session_replication_role = replica`)
    await query(sql`insert into mail_outbox (tenant_id, id, sealed, due_at)
      select ${tenantId}::uuid, gen_random_uuid(), '', 'infinity' from generate_series(1, ${count}::int)`)
  })

/**
 * Asks for a code or a link when the one before counts as having arrived, and waits until it is sent: the embedded
 * database shares the process's clock, by which a mail of the future is not due.
 */
export async function onceArrived<T>(server: TestServer, ask: () => Promise<T>, seconds = 121): Promise<T> {
  await allMailed(server)
  return later(seconds, async () => {
    const answer = await ask()
    await allMailed(server)
    return answer
  })
}

/** Any code but this one. */
export const wrongCode = (code: string): string => String((Number(code) + 1) % 1_000_000).padStart(6, '0')

/** A problem without what differs from request to request. */
export function problemOf({ status, body }: Answer): Record<string, unknown> {
  const { request_id: _, ...rest } = body
  return { answered: status, ...rest }
}

/** A revocation must take effect within a second, on every instance. */
export const endsWithinASecond = (server: TestServer, token: string): Promise<unknown> =>
  until(
    async () => {
      const answer = await asBearer(server, token).get('/auth/me')
      return answer.status === 401 && answer.body.code === 'token_revoked'
    },
    'the end of an access token',
    1000,
  )

export const isAlive = async (person: Person, server: TestServer): Promise<boolean> =>
  (await asBearer(server, person.accessToken).get('/auth/me')).status === 200

/** Runs `work` with the process's clock, and the embedded database's, moved forward; timers are unaffected. */
export async function later<T>(seconds: number, work: () => Promise<T>): Promise<T> {
  setSystemTime(new Date(Date.now() + seconds * 1000))
  try {
    return await work()
  } finally {
    setSystemTime()
  }
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const decode = (part: string | undefined): Record<string, unknown> =>
  JSON.parse(Buffer.from(part ?? '', 'base64url').toString())

export const headerOf = (token: string): Record<string, unknown> => decode(token.split('.')[0])
export const claimsOf = (token: string): Record<string, unknown> => decode(token.split('.')[1])

/** A hand-made JWT. `none` gets the signature that HS256 would have. */
export function forge(
  claims: Record<string, unknown>,
  secret: string,
  header: Record<string, unknown>,
): string {
  const body = `${encode(header)}.${encode(claims)}`
  const hash = header['alg'] === 'HS512' ? 'sha512' : header['alg'] === 'HS384' ? 'sha384' : 'sha256'
  return `${body}.${createHmac(hash, secret).update(body).digest('base64url')}`
}

export async function storedHash(server: TestServer, email: string): Promise<string> {
  const rows = await server.running.deps.db.read(
    'system',
    sql<{ hash: string }>`select password_hash as hash from users where email = ${email}`,
  )
  return rows[0]?.hash ?? ''
}
