/** What an archive may claim: revocations of its own people's tokens alone, and verified addresses unless it is told not to. */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { type Entry, emptyArchive, entriesOf, importText, rowsOf, sealed } from '../support/archive.ts'
import { claimsOf, login } from '../support/auth.ts'
import { createClient } from '../support/client.ts'
import {
  asPerson,
  goodPassword,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../support/server.ts'
import { codeIn } from '../support/smtp.ts'
import { closeSockets, openSocket } from '../support/socket.ts'

const platform = '00000000-0000-7000-8000-000000000000'

interface Revocation {
  subject: string
  minimum_epoch: number
  spared_session?: string | null
  spared_epoch?: number | null
}

/** With these revocations, sorted as an export writes them. */
function withRevocations(entries: Entry[], ...revocations: Revocation[]): Entry[] {
  const none = { spared_session: null, spared_epoch: null }
  const rows = revocations
    .map((one) => ({ table: 'revocations', ...none, ...one }))
    .sort((a, b) => (a.subject < b.subject ? -1 : 1))
  const before = entries.findLastIndex(({ table }) => table !== 'audit_log' && table !== undefined)
  return entries.toSpliced(before + 1, 0, ...rows)
}

const ids = (amount: number): string[] => Array.from({ length: amount }, () => Bun.randomUUIDv7())

describeBackends('an archive', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let root: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
    root = await superAdmin(server)
  })
  afterEach(closeSockets)

  const fresh = (): Entry[] => {
    const id = Bun.randomUUIDv7()
    return entriesOf(emptyArchive({ id, slug: `made-${id}` }))
  }
  const imported = (entries: Entry[]) => importText(server.running.deps.db, sealed(entries))

  const nobodyNotices = async (): Promise<void> => {
    for (const person of [ann, root]) {
      const again = await asPerson(server, person.email, person.password)
      for (const { api } of [person, again]) expect((await api.get('/auth/me')).status).toBe(200)
    }
  }

  test('cannot revoke the tokens of anybody else: it is refused by the line, and nobody notices', async () => {
    const session = String(claimsOf(ann.accessToken)['sid'])
    const socket = await openSocket(server, ann.accessToken)
    const strangers = [
      ...[tenant.id, ann.id, root.id, platform, session].map((subject) => ({
        subject,
        minimum_epoch: 2_147_483_647,
      })),
      ...[tenant.id, ann.id, root.id, platform].map((subject) => ({ subject, minimum_epoch: 1 })),
    ]
    for (const stranger of strangers) {
      const [first = '', second = ''] = ids(2)
      const mine = [first, second].map((subject) => ({ subject, minimum_epoch: 1 }))
      const entries = withRevocations(fresh(), ...mine, stranger)
      const line = 1 + entries.findIndex(({ subject }) => subject === stranger.subject)
      await expect(imported(entries)).rejects.toThrow(`Line ${line} of the archive`)
    }
    await nobodyNotices()
    await socket.settled()
  })

  test('that names the session of somebody else revokes a session of its own tenant by that id, and no other', async () => {
    const session = String(claimsOf(ann.accessToken)['sid'])
    const socket = await openSocket(server, ann.accessToken)
    const { tenant: made } = await imported(withRevocations(fresh(), { subject: session, minimum_epoch: 1 }))
    const { revocations } = server.running.deps
    // The embedded database has no other instance, so it is not polled for long.
    await revocations.load()
    expect(revocations.covers(made.id, session, 0, session)).toBe(true)
    await nobodyNotices()
    await socket.settled()
  })

  test.each<[string, Partial<Revocation>]>([
    ['a later epoch', { minimum_epoch: 2 }],
    ['an exempt session', { spared_session: platform, spared_epoch: 0 }],
    ['the first epoch', { minimum_epoch: 0 }],
  ])('cannot give a session %s', async (_what, more) => {
    const [subject = ''] = ids(1)
    const entries = withRevocations(fresh(), { subject, minimum_epoch: 1, ...more })
    await expect(imported(entries)).rejects.toThrow(`Line ${entries.length - 1} of the archive`)
  })

  /** An archive of a tenant with these addresses, all verified. */
  const withPeople = async (...emails: string[]): Promise<Entry[]> => {
    const entries = fresh()
    const [hash] = await server.running.deps.db.read(
      'system',
      sql<{ hash: string }>`select password_hash as hash from users where id = ${ann.id}`,
    )
    const at = '2020-11-22T07:00:00.000Z'
    const users = ids(emails.length)
      .sort()
      .map((id, index) => ({
        ...{ table: 'users', id, email: emails[index], full_name: 'Someone', role: 'tenant_admin' },
        ...{
          password_hash: hash?.hash,
          is_active: true,
          email_verified: true,
          token_epoch: 0,
          session_epoch: 0,
        },
        ...{ removal_announced_at: at, created_at: at, updated_at: at },
      }))
    Object.assign(entries[0] ?? {}, { credentials: true })
    return entries.toSpliced(2, 0, ...users)
  }

  test('may revoke what is its own: sessions, invitations, and its people up to their epoch', async () => {
    const people = async () => {
      const entries = await withPeople(`${crypto.randomUUID()}@four.example`)
      const [home, user] = [rowsOf(entries, 'tenants')[0], rowsOf(entries, 'users')[0]]
      Object.assign(home ?? {}, { epoch: 2 })
      Object.assign(user ?? {}, { token_epoch: 3 })
      return { entries, home: String(home?.['id']), user: String(user?.['id']) }
    }
    const [session = ''] = ids(1)
    const own = await people()
    const revocations = [
      { subject: session, minimum_epoch: 1 },
      { subject: own.home, minimum_epoch: 2 },
      { subject: own.user, minimum_epoch: 3, spared_session: session, spared_epoch: 2 },
    ]
    expect((await imported(withRevocations(own.entries, ...revocations))).rows.revocations).toBe(3)
    for (const of of ['home', 'user'] as const) {
      const other = await people()
      const later = withRevocations(other.entries, { subject: other[of], minimum_epoch: 4 })
      await expect(imported(later)).rejects.toThrow(`Line ${later.length - 1} of the archive`)
    }
  })

  test('with a count of refusals for whatever it likes leaves the trail readable', async () => {
    const email = `${crypto.randomUUID()}@five.example`
    const entries = await withPeople(email)
    const at = '2026-11-22T07:00:00.000Z'
    const row = {
      ...{ table: 'refusal_counts', id: Bun.randomUUIDv7(), hour: at, subject: 'nobody in particular' },
      ...{ action: 'auth.refusals_counted', reason: '', count: 21, listed: true, last_at: at },
    }
    await imported(entries.toSpliced(-1, 0, row))
    const { api } = await asPerson(server, email, goodPassword)
    const { body } = await api.get('/audit?action=auth.refusals_counted')
    expect(body.data).toMatchObject([{ id: row.id, target_id: null, address: row.subject }])
  })

  test('brings verified addresses, which are counted by domain', async () => {
    const tag = crypto.randomUUID()
    const emails = ['a@one.example', 'b@one.example', 'c@two.example'].map((email) => `${tag}-${email}`)
    const { verified } = await imported(await withPeople(...emails))
    expect(verified).toEqual({
      addresses: 3,
      domains: [
        { domain: 'one.example', addresses: 2 },
        { domain: 'two.example', addresses: 1 },
      ],
    })
    expect((await login(server, emails[0] ?? '')).status).toBe(200)
    const many = Array.from({ length: 15 }, (_, index) => `${tag}@d${index + 10}.example`)
    const bounded = await imported(await withPeople(...many))
    expect(bounded.verified).toMatchObject({ addresses: 15 })
    expect(bounded.verified.domains).toHaveLength(10)
  })

  test('imported as unverified has every address proved here, with a week to do so', async () => {
    const email = `${crypto.randomUUID()}@three.example`
    const archive = sealed(await withPeople(email))
    const { db } = server.running.deps
    const { verified, tenant: made } = await importText(db, archive, { unverified: true })
    expect(verified).toEqual({ addresses: 0, domains: [] })
    expect((await login(server, email)).body.code).toBe('email_not_verified')
    const rows = await db.read(
      { tenantId: made.id },
      sql`select removal_announced_at, updated_at > now() - interval '1 hour' as fresh from users
        where tenant_id = ${made.id}`,
    )
    expect(rows).toEqual([{ removal_announced_at: null, fresh: true }])
    const otp = codeIn(await server.inbox.waitFor(email))
    expect((await createClient(server.url).post('/auth/verify-email', { email, otp })).status).toBe(200)
    expect((await login(server, email, goodPassword)).status).toBe(200)
  })
})
