/** How many mails one address gets, and how many one tenant may cause to addresses that are not verified. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { allMailed, makeUnverified, onceArrived } from '../support/auth.ts'
import { type Answer, createClient } from '../support/client.ts'
import { figuresNow, sumOf } from '../support/metrics.ts'
import {
  freshEmail,
  goodPassword,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../support/people.ts'
import { describeBackends, startServer, type TestServer } from '../support/server.ts'
import { codeIn, linkIn } from '../support/smtp.ts'

const newPassword = 'another horse, another staple'

describeBackends('RATE_LIMIT_MAIL', (backend) => {
  let server: TestServer
  let tenant: Tenant
  beforeAll(async () => {
    server = await startServer(backend, { RATE_LIMIT_MAIL: '20/day' })
    tenant = await makeTenant(server)
  })
  afterAll(() => server.stop())

  const mailsTo = async (email: string) => {
    await allMailed(server)
    return server.inbox.mails.filter(({ to }) => to === email)
  }
  const withheld = async () =>
    sumOf(await figuresNow(server), 'minimart_rate_limit_refusals_total', {
      policy: 'mails',
    })

  const forgot = async (email: string): Promise<void> => {
    const { status, text } = await createClient(server.url).post('/auth/forgot-password', { email })
    expect([status, text]).toEqual([202, ''])
  }
  const invite = async (owner: Person, email: string): Promise<Answer> => {
    const { id } = await makeList(owner)
    const invited = await owner.api.post(`/shopping-lists/${id}/invite`, { email })
    expect(invited.status).toBe(201)
    return invited
  }

  test('gives an address five mails an hour of all kinds; past that the answers are the same, and nothing is sent', async () => {
    const ann = await makeUser(server, tenant)
    await invite(tenant.admin, ann.email)
    await forgot(ann.email)
    const passwords = { current_password: goodPassword, new_password: newPassword }
    expect((await ann.api.post('/auth/change-password', passwords)).status).toBe(204)
    await onceArrived(server, () => forgot(ann.email))
    const before = await mailsTo(ann.email)
    expect(before).toHaveLength(5)

    const refusals = await withheld()
    const { body } = await invite(tenant.admin, ann.email)
    await onceArrived(server, () => forgot(ann.email), 242)
    const back = { current_password: newPassword, new_password: goodPassword }
    expect((await ann.api.post('/auth/change-password', back)).status).toBe(204)
    expect(await mailsTo(ann.email)).toHaveLength(5)
    expect((await withheld()) - refusals).toBe(3)
    // What was not mailed works all the same.
    expect((await ann.api.post('/invitations/accept', { token: body.token })).status).toBe(200)
  })

  test('past which no new code or link is made, so that the last one stays good', async () => {
    const { email } = await makeUnverified(server, tenant)
    const resend = () => createClient(server.url).post('/auth/resend-otp', { email })
    for (let asked = 1; asked <= 6; asked++)
      expect((await onceArrived(server, resend, 121 * asked)).status).toBe(202)
    const mails = await mailsTo(email)
    expect(mails).toHaveLength(5)
    const otp = codeIn(mails.at(-1) ?? { text: '' })
    expect((await createClient(server.url).post('/auth/verify-email', { email, otp })).status).toBe(200)

    const ben = await makeUser(server, tenant)
    for (let asked = 1; asked <= 6; asked++) await onceArrived(server, () => forgot(ben.email), 121 * asked)
    const links = await mailsTo(ben.email)
    expect(links).toHaveLength(5)
    const token = linkIn(links.at(-1) ?? { text: '' }).searchParams.get('token')
    const reset = { token, new_password: newPassword }
    expect((await createClient(server.url).post('/auth/reset-password', reset)).status).toBe(204)
  })

  test('is not used up by calls that mail nothing: repeated within two minutes, or refused', async () => {
    const ann = await makeUser(server, tenant)
    const person = { email: ann.email, full_name: 'Ann', password: goodPassword }
    for (let count = 0; count < 6; count++) {
      expect((await tenant.admin.api.post('/users', person)).body.code).toBe('email_taken')
      await forgot(ann.email)
    }
    for (let count = 0; count < 3; count++) await invite(tenant.admin, ann.email)
    expect(await mailsTo(ann.email)).toHaveLength(5)
  })
})

describeBackends('RATE_LIMIT_TENANT_MAIL', (backend) => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer(backend, { RATE_LIMIT_TENANT_MAIL: '3/hour' })
  })
  afterAll(() => server.stop())

  const expectLimited = ({ status, body, headers }: Answer): void => {
    expect([status, body.code]).toEqual([429, 'rate_limited'])
    expect(Number(headers.get('retry-after'))).toBeWithin(1, 1201)
    expect(headers.get('ratelimit')).toContain('"tenant-mails";r=0;')
  }

  test('bounds what a tenant causes to unverified addresses, by new users and invitations', async () => {
    const [tenant, other] = [await makeTenant(server), await makeTenant(server)]
    const { api } = tenant.admin
    const verified = await makeUser(server, tenant)
    const waiting = await makeUnverified(server, tenant)
    const { id } = await makeList(tenant.admin)
    const invite = (email: string) => api.post(`/shopping-lists/${id}/invite`, { email })
    expect((await invite(waiting.email)).status).toBe(201)
    expectLimited(await invite(waiting.email))
    const person = { email: freshEmail('late'), full_name: 'Late', password: goodPassword }
    expectLimited(await api.post('/users', person))
    expect((await api.get('/users?search=late')).body.data).toEqual([])
    expect((await invite(verified.email)).status).toBe(201)
    await makeUser(server, other)
  })

  test('bounds what a super admin causes by new tenants', async () => {
    const root = await superAdmin(server)
    const make = () =>
      root.api.post('/tenants', {
        name: 'T',
        admin: { email: freshEmail(), full_name: 'A', password: goodPassword },
      })
    // The test before has made two.
    expect((await make()).status).toBe(201)
    expectLimited(await make())
  })
})
