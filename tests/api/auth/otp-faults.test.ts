/**
 * Codes that cannot be stored, mails that cannot be queued, users who are then not created: the caller gets a mail or an
 * error, never neither.
 */
import { expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { createClient as createRedis } from 'redis'
import { platformTenantId } from '../../../src/db/schema.ts'
import { allMailed, fillOutbox, login, makeUnverified, onceArrived } from '../../support/auth.ts'
import { type Answer, createClient } from '../../support/client.ts'
import {
  freshEmail,
  goodPassword,
  makeList,
  makeTenant,
  makeUser,
  superAdmin,
  verify,
} from '../../support/people.ts'
import { describePrivateRedis, type PrivateRedis, startRedis } from '../../support/redis.ts'
import { describeBackends, sharedServer, startServer } from '../../support/server.ts'
import { until } from '../../support/until.ts'

async function setReplicasToWrite({ url }: PrivateRedis, count: string): Promise<void> {
  const redis = createRedis({ url })
  await redis.connect()
  await redis.configSet('min-replicas-to-write', count)
  redis.destroy()
}

/** Ways to make Redis unusable and usable again. */
const outages = {
  'is away': [(redis: PrivateRedis) => redis.stop('crash'), (redis: PrivateRedis) => redis.start()],
  'takes no writes': [
    (redis: PrivateRedis) => setReplicasToWrite(redis, '1'),
    (redis: PrivateRedis) => setReplicasToWrite(redis, '0'),
  ],
} as const

describePrivateRedis('a code that cannot be stored', () => {
  for (const [how, [begin, end]] of Object.entries(outages))
    test(`while Redis ${how} answers 503 and creates nobody, and the same call succeeds afterwards`, async () => {
      const redis = await startRedis()
      const server = await startServer('full', { REDIS_URL: redis.url })
      try {
        const tenant = await makeTenant(server)
        const root = await superAdmin(server)
        const waiting = await makeUnverified(server, tenant)
        const open = createClient(server.url)
        const person = { email: freshEmail('late'), full_name: 'Late', password: goodPassword }
        const admin = { ...person, email: freshEmail('late-admin') }
        const addUser = () => tenant.admin.api.post('/users', person)
        const addTenant = () => root.api.post('/tenants', { name: 'Late', admin })

        await begin(redis)
        for (const answer of [
          await addUser(),
          await addTenant(),
          await login(server, waiting.email),
          await open.post('/auth/resend-otp', { email: waiting.email }),
          await open.post('/auth/resend-otp', { email: freshEmail('nobody') }),
          await open.post('/auth/forgot-password', { email: waiting.email }),
          await open.post('/auth/forgot-password', { email: freshEmail('nobody') }),
        ]) {
          expect(answer.body).toMatchObject({ status: 503, code: 'redis_unavailable' })
          expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
        }
        expect((await tenant.admin.api.get('/users?search=late')).body.data).toEqual([])
        expect((await root.api.get('/tenants?search=late')).body.data).toEqual([])

        await end(redis)
        await until(async () => (await addUser()).status === 201, 'a user', 20_000)
        expect((await addTenant()).status).toBe(201)
        for (const { email } of [person, admin]) {
          await verify(server, email)
          expect((await login(server, email)).status).toBe(200)
        }
      } finally {
        await server.stop()
        await redis.end()
      }
    })
})

describeBackends('a mail for which there is no room', (backend) => {
  test('is refused with what would cause it, known address or not, and the same call succeeds afterwards', async () => {
    const server = await startServer(backend)
    const { db } = server.running.deps
    try {
      const tenant = await makeTenant(server)
      const [root, waiting] = [await superAdmin(server), await makeUnverified(server, tenant)]
      const list = await makeList(tenant.admin)
      const open = createClient(server.url)
      const guest = await makeUser(server, tenant)
      const person = { email: freshEmail('late'), full_name: 'Late', password: goodPassword }
      const admin = { ...person, email: freshEmail('late-admin') }
      const change = { current_password: goodPassword, new_password: `not ${goodPassword}` }
      const asUsual: [call: () => Promise<Answer>, status: number][] = [
        [() => tenant.admin.api.post('/users', person), 201],
        [() => root.api.post('/tenants', { name: 'Late', admin }), 201],
        [() => tenant.admin.api.post(`/shopping-lists/${list.id}/invite`, { email: guest.email }), 201],
        [() => guest.api.post('/auth/change-password', change), 204],
        [() => onceArrived(server, () => login(server, waiting.email)), 403],
        [() => open.post('/auth/resend-otp', { email: freshEmail('nobody') }), 202],
        [() => open.post('/auth/forgot-password', { email: tenant.admin.email }), 202],
        [() => open.post('/auth/forgot-password', { email: freshEmail('nobody') }), 202],
      ]
      await allMailed(server)
      await fillOutbox(db, platformTenantId, 20_000)
      const before = server.inbox.mails.length
      for (const [call] of asUsual) {
        const { status, body, headers } = await call()
        expect([status, body.code]).toEqual([503, 'busy'])
        expect(headers.get('retry-after')).toMatch(/^[1-9]\d*$/)
      }
      expect((await tenant.admin.api.get('/users?search=late')).body.data).toEqual([])
      expect((await root.api.get('/tenants?search=late')).body.data).toEqual([])
      // The code mailed before is still good.
      const proof = { email: waiting.email, otp: waiting.code }
      expect((await open.post('/auth/verify-email', proof)).status).toBe(200)

      await db.write('outbox', sql`delete from mail_outbox`)
      await db.write('system', sql`update users set email_verified = false where id = ${waiting.id}`)
      for (const [call, status] of asUsual) expect((await call()).status).toBe(status)
      await allMailed(server)
      const addressees = server.inbox.mails.slice(before).map(({ to }) => to)
      expect(addressees.toSorted()).toEqual(
        [person.email, admin.email, guest.email, guest.email, waiting.email, tenant.admin.email].toSorted(),
      )
    } finally {
      await server.stop()
    }
  }, 60_000)
})

describeBackends('a code for a user who is not created', (backend) => {
  test('because the address is taken leaves the code mailed to it valid', async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    const newcomer = await makeUnverified(server, tenant)
    const again = { email: newcomer.email, full_name: 'Again', password: goodPassword }
    for (let tries = 0; tries < 2; tries++)
      expect((await tenant.admin.api.post('/users', again)).body).toMatchObject({
        status: 409,
        code: 'email_taken',
      })
    const proof = { email: newcomer.email, otp: newcomer.code }
    expect((await createClient(server.url).post('/auth/verify-email', proof)).status).toBe(200)
    await allMailed(server)
    expect(server.inbox.mails.filter(({ to }) => to === newcomer.email)).toHaveLength(1)
  })
})
