/** Users who never verify their address, and only they, are announced to an admin and then removed. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { login, makeUnverified, type Newcomer } from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import {
  freshEmail,
  goodPassword,
  makeTenant,
  makeUser,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import {
  describeBackends,
  describeFull,
  startInstance,
  startServer,
  type TestServer,
} from '../../support/server.ts'
import { codeIn, type ReceivedMail } from '../../support/smtp.ts'
import { until } from '../../support/until.ts'
import { housekeepingOf, inDays, roundIn, rowsOf } from './setup.ts'

const noticesTo = ({ inbox }: TestServer, email: string): ReceivedMail[] =>
  inbox.mails.filter(({ to, subject }) => to === email && subject.includes('never confirmed'))

const addressesOf = async ({ admin }: Tenant): Promise<string[]> => {
  const { body } = await admin.api.get('/users?limit=100')
  return body.data.map(({ email }: { email: string }) => email).toSorted()
}

const day = 86_400_000

const isAnnounced = async (server: TestServer, { id }: Newcomer): Promise<boolean> => {
  const [row] = await rowsOf(
    server,
    'system',
    sql<{
      announced: boolean
    }>`select removal_announced_at is not null as announced from users where id = ${id}`,
  )
  return row?.announced === true
}

const verifyWith = (server: TestServer, { email, code }: Newcomer) =>
  createClient(server.url).post('/auth/verify-email', { email, otp: code })

describeBackends('users who never verified their address', (backend) => {
  let server: TestServer

  beforeAll(async () => {
    server = await startServer(backend)
  })
  afterAll(() => server.stop())

  test('are announced to the admins once, a day before removal, which frees the address', async () => {
    const tenant = await makeTenant(server)
    const second = await makeUser(server, tenant, { role: 'tenant_admin' })
    const member = await makeUser(server, tenant)
    const people = [await makeUnverified(server, tenant), await makeUnverified(server, tenant)] as const
    const [gone, proved] = people

    expect(await roundIn(server, 5)).toMatchObject({ announced: 0, outcome: 'done' })
    expect(await roundIn(server, 6)).toMatchObject({ announced: 2, outcome: 'done' })
    for (const admin of [tenant.admin, second]) {
      const [mail, ...more] = noticesTo(server, admin.email)
      expect(more).toEqual([])
      for (const { email } of people) expect(mail?.text).toContain(`Newcomer, ${email}`)
      expect(mail?.text).not.toContain(member.email)
      const [, until = ''] = /removed after (.+ UTC),/.exec(mail?.text.replace(/\s+/g, ' ') ?? '') ?? []
      expect(Math.abs(Date.parse(until.replace(' UTC', 'Z')) - Date.now() - 7 * day)).toBeLessThan(day / 24)
    }
    expect(noticesTo(server, member.email)).toEqual([])
    expect(await roundIn(server, 6)).toMatchObject({ announced: 0, removed: { unverified_users: 0 } })

    expect((await verifyWith(server, proved)).status).toBe(200)
    expect((await roundIn(server, 7)).removed.unverified_users).toBe(1)
    expect(await addressesOf(tenant)).toEqual(
      [tenant.admin.email, second.email, member.email, proved.email].toSorted(),
    )
    expect(noticesTo(server, tenant.admin.email)).toHaveLength(1)
    expect((await tenant.admin.api.get(`/users/${gone.id}`)).status).toBe(404)
    expect((await verifyWith(server, gone)).body).toMatchObject({ status: 400, code: 'otp_invalid' })
    expect((await login(server, gone.email)).body).toMatchObject({ status: 401, code: 'invalid_credentials' })
    const trail = await rowsOf(
      server,
      { tenantId: tenant.id },
      sql`select actor_id, target_type, target_id, details from audit_log where action = 'user.removed'`,
    )
    expect(trail).toEqual([
      {
        actor_id: null,
        target_type: 'user',
        target_id: gone.id,
        details: { email: gone.email, reason: 'unverified' },
      },
    ])
    const again = { email: gone.email, full_name: 'Again', password: goodPassword }
    expect((await tenant.admin.api.post('/users', again)).status).toBe(201)
  })

  test('have a week from the last change of their account, as after an import', async () => {
    const tenant = await makeTenant(server)
    const [changed, old] = [await makeUnverified(server, tenant), await makeUnverified(server, tenant)]
    await rowsOf(
      server,
      'system',
      sql`update users set created_at = now() - interval '30 days',
          updated_at = case when id = ${changed.id} then now() else now() - interval '30 days' end
        where id in (${changed.id}, ${old.id})`,
    )
    expect((await roundIn(server, 1)).outcome).toBe('done')
    expect([await isAnnounced(server, changed), await isAnnounced(server, old)]).toEqual([false, true])
    expect((await roundIn(server, 3)).removed.unverified_users).toBe(1)
    const left = await addressesOf(tenant)
    expect([left.includes(changed.email), left.includes(old.email)]).toEqual([true, false])
  })

  test('are removed a day after an admin deactivated them, without notice, and their address is free', async () => {
    const tenant = await makeTenant(server)
    const [gone, active] = [await makeUnverified(server, tenant), await makeUnverified(server, tenant)]
    const verified = await makeUser(server, tenant)
    for (const { id } of [gone, verified])
      expect((await tenant.admin.api.delete(`/users/${id}`)).status).toBe(204)
    expect((await roundIn(server, 0)).removed.unverified_users).toBe(0)
    expect((await roundIn(server, 2)).removed.unverified_users).toBe(1)
    expect(await addressesOf(tenant)).toEqual([tenant.admin.email, active.email, verified.email].toSorted())
    expect(noticesTo(server, tenant.admin.email)).toEqual([])
  })

  test('stay where no admin can be notified, in a deactivated tenant, and where other rows refer to them', async () => {
    const root = await superAdmin(server)
    const email = freshEmail('alone')
    const admin = { email, full_name: 'Alone', password: goodPassword }
    expect((await root.api.post('/tenants', { name: 'Nobody verified', admin })).status).toBe(201)
    const asleep = [await makeTenant(server), await makeTenant(server)] as const
    const [announced, unknown] = asleep
    const sleepers = [await makeUnverified(server, announced)]
    await roundIn(server, 6)
    sleepers.push(await makeUnverified(server, unknown))
    for (const { id } of asleep) await root.api.delete(`/tenants/${id}`)
    const tenant = await makeTenant(server)
    const pointedTo = await makeUnverified(server, tenant)
    const listId = (await tenant.admin.api.post('/shopping-lists', { name: 'List' })).body.id
    await rowsOf(
      server,
      { tenantId: tenant.id },
      sql`insert into list_members (tenant_id, list_id, user_id, role)
        values (${tenant.id}, ${listId}, ${pointedTo.id}, 'viewer')`,
    )
    const other = await makeUnverified(server, tenant)

    await roundIn(server, 30)
    expect((await roundIn(server, 40)).outcome).toBe('done')
    expect(await addressesOf(tenant)).toEqual([tenant.admin.email, pointedTo.email].toSorted())
    expect(noticesTo(server, tenant.admin.email)[0]?.text).toContain(other.email)
    expect(asleep.map(({ admin }) => noticesTo(server, admin.email).length)).toEqual([1, 0])
    const left = await rowsOf(server, 'system', sql<{ email: string }>`select email from users`)
    expect(left.map((user) => user.email)).toContain(email)
    for (const sleeper of sleepers) expect(left.map((user) => user.email)).toContain(sleeper.email)
    expect(noticesTo(server, email)).toEqual([])
  })

  test('do not count as announced by a mail that was refused, however old they are; the next round retries', async () => {
    const tenant = await makeTenant(server)
    const person = await makeUnverified(server, tenant)
    server.inbox.behave({ refuseWith: 550, at: 'recipient' })
    await roundIn(server, 30)
    expect(await isAnnounced(server, person)).toBe(false)
    server.inbox.behave('accept')
    await roundIn(server, 30)
    expect(noticesTo(server, tenant.admin.email)).toHaveLength(1)
    expect(await addressesOf(tenant)).toContain(person.email)
    await roundIn(server, 31)
    expect(await addressesOf(tenant)).toEqual([tenant.admin.email])
  })

  test('count as announced only once the mail is sent, which a round that is stopped still records', async () => {
    const tenant = await makeTenant(server)
    const person = await makeUnverified(server, tenant)
    const mail = Promise.withResolvers<boolean>()
    let asked = 0
    const deliver = () => {
      asked += 1
      return mail.promise
    }
    const housekeeping = housekeepingOf(server, { now: inDays(6), mailer: { deliver } })
    const round = housekeeping.run()
    await until(() => asked > 0)
    expect(await isAnnounced(server, person)).toBe(false)
    // Meanwhile no other instance notifies the same admins.
    expect(await roundIn(server, 6)).toMatchObject({ outcome: 'done', announced: 0 })
    const stopped = housekeeping.stop()
    mail.resolve(true)
    await stopped
    expect((await round).announced).toBe(1)
    expect(await isAnnounced(server, person)).toBe(true)
    expect(asked).toBe(1)
    expect(noticesTo(server, tenant.admin.email)).toEqual([])
  })

  test('stay, admins included, when the notified admin is no longer one', async () => {
    const tenant = await makeTenant(server)
    const email = freshEmail('second')
    const person = { email, full_name: 'Second', password: goodPassword, role: 'tenant_admin' }
    expect((await tenant.admin.api.post('/users', person)).status).toBe(201)
    const mail = await server.inbox.waitFor(email)
    await roundIn(server, 6)
    expect(noticesTo(server, tenant.admin.email)).toHaveLength(1)
    expect((await tenant.admin.api.patch(`/users/${tenant.admin.id}`, { role: 'member' })).status).toBe(200)
    await roundIn(server, 8)
    const proof = { email, otp: codeIn(mail) }
    expect((await createClient(server.url).post('/auth/verify-email', proof)).status).toBe(200)
    expect((await login(server, email)).body.user.role).toBe('tenant_admin')
  })
})

describeFull('housekeeping on PostgreSQL', () => {
  let server: TestServer
  let other: TestServer
  let admin: postgres.Sql

  beforeAll(async () => {
    server = await startServer('full')
    other = await startInstance(server)
    admin = postgres(server.environment['DATABASE_URL'] ?? '', { max: 2, onnotice: () => undefined })
  })
  afterAll(async () => {
    await admin.end({ timeout: 2 })
    await other.stop()
    await server.stop()
  })

  const blocked = () =>
    until(async () => {
      const [row] = await admin`select count(*)::int as waiting from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`
      return row?.['waiting'] > 0
    }, 'a transaction that waits for a lock')

  test('runs on one instance at a time: everyone is announced in one mail and removed once', async () => {
    const tenant = await makeTenant(server)
    const [root] = await admin`select password_hash from users where id = ${tenant.admin.id}`
    await admin`insert into users (tenant_id, id, email, full_name, role, password_hash)
      select ${tenant.id}, gen_random_uuid(), 'p' || n || '@raced.example', 'P', 'member', ${root?.['password_hash']}
      from generate_series(1, 60) n`
    await admin`insert into revocations (tenant_id, subject, minimum_epoch, at)
      select ${tenant.id}, gen_random_uuid(), 1, now() - interval '2 years' from generate_series(1, 300)`
    const both = (days: number) =>
      Promise.all([server, other].map((each) => roundIn(each, days, { batchSize: 10 })))
    const rounds = [...(await both(6)), ...(await both(6)), ...(await both(7)), ...(await both(7))]
    const sum = (of: (round: (typeof rounds)[number]) => number) =>
      rounds.reduce((total, round) => total + of(round), 0)
    expect(rounds.filter(({ outcome }) => outcome === 'failed')).toEqual([])
    // Whoever finds the lock taken leaves the rest to the other, so both may leave some for the next round.
    rounds.push(await roundIn(server, 7), await roundIn(server, 9))
    expect(sum(({ announced }) => announced)).toBe(60)
    expect(sum(({ removed }) => removed.revocations)).toBe(300)
    expect(sum(({ removed }) => removed.unverified_users)).toBe(60)
    expect(noticesTo(server, tenant.admin.email)).toHaveLength(1)
    const [trail] = await admin`select count(*)::int as entries from audit_log where action = 'user.removed'`
    expect(trail?.['entries']).toBe(60)
    expect(await addressesOf(tenant)).toEqual([tenant.admin.email])
  })

  test('silently does nothing while another instance holds the lock', async () => {
    const tenant = await makeTenant(server)
    const person = await makeUnverified(server, tenant)
    const logged = server.log.lines.length
    await admin.begin(async (tx) => {
      await tx`select pg_advisory_xact_lock(hashtextextended('minimart:housekeeping', 0))`
      expect(await roundIn(server, 400)).toMatchObject({ outcome: 'elsewhere', announced: 0 })
    })
    expect(server.log.lines.slice(logged).filter(({ message }) => message.includes('housekeeping'))).toEqual(
      [],
    )
    expect(await isAnnounced(server, person)).toBe(false)
  })

  test('never removes the last admin, even when the notified one steps down at that moment', async () => {
    const tenant = await makeTenant(server)
    const second = await makeUnverified(server, tenant)
    await admin`update users set role = 'tenant_admin' where id = ${second.id}`
    await roundIn(server, 6)
    let round: Promise<unknown> = Promise.resolve()
    await admin.begin(async (tx) => {
      // As users/service.ts does.
      await tx`select from tenants where id = ${tenant.id} for no key update`
      round = roundIn(server, 8)
      await blocked()
      await tx`update users set role = 'member' where id = ${tenant.admin.id}`
    })
    await round
    const left = await admin`select id from users where tenant_id = ${tenant.id} and role = 'tenant_admin'`
    expect(left.map(({ id }) => id)).toEqual([second.id])
  })

  test('keeps whoever verifies at that moment, or else the code is refused', async () => {
    const tenant = await makeTenant(server)
    const proving = await makeUnverified(server, tenant)
    const late = await makeUnverified(server, tenant)
    await roundIn(server, 6)
    let round: Promise<unknown> = Promise.resolve()
    await admin.begin(async (tx) => {
      await tx`update users set email_verified = true where id = ${proving.id}`
      round = roundIn(server, 8)
      await blocked()
    })
    await round
    expect(await addressesOf(tenant)).toEqual([tenant.admin.email, proving.email].toSorted())
    expect((await verifyWith(other, late)).body.code).toBe('otp_invalid')
  })
})
