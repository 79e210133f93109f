/** Signing in: the answer, who may, and the order in which refusals are checked. */
import { beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import {
  allMailed,
  login,
  makeUnverified,
  onceArrived,
  problemOf,
  storedHash,
  wrongCode,
} from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import {
  freshEmail,
  goodPassword,
  makeTenant,
  makeUser,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, hashingServer, sharedServer, type TestServer } from '../../support/server.ts'
import { codeIn } from '../../support/smtp.ts'

describeBackends('login', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
  })

  test('returns both tokens, their type and lifetime, and the user without secrets', async () => {
    const ann = await makeUser(server, tenant, { name: 'Ann' })
    const { status, body, headers } = await login(server, ann.email)
    expect(status).toBe(200)
    expect(Object.keys(body).toSorted()).toEqual(
      ['access_token', 'expires_in', 'refresh_token', 'token_type', 'user'].toSorted(),
    )
    expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 900 })
    expect(body.user).toEqual({
      id: ann.id,
      tenant_id: tenant.id,
      email: ann.email.toLowerCase(),
      full_name: 'Ann',
      role: 'member',
      is_active: true,
      email_verified: true,
      created_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      updated_at: expect.stringMatching(/Z$/),
    })
    expect(headers.get('cache-control')).toBe('no-store')
  })

  test('a super admin has no tenant and counts as verified', async () => {
    const { body } = await login(server, server.superAdmin.email, server.superAdmin.password)
    expect(body.user).toMatchObject({ role: 'super_admin', tenant_id: null, email_verified: true })
  })

  test('the address may be in any case and surrounded by blanks', async () => {
    const ann = await makeUser(server, tenant)
    expect((await login(server, `  ${ann.email.toUpperCase()} `)).status).toBe(200)
  })

  test('an unknown address and a wrong password get the same answer', async () => {
    const ann = await makeUser(server, tenant)
    const wrong = await login(server, ann.email, 'not the password')
    const unknown = await login(server, freshEmail('nobody'), 'not the password')
    expect(wrong.status).toBe(401)
    expect(wrong.body.code).toBe('invalid_credentials')
    expect(problemOf(unknown)).toEqual(problemOf(wrong))
    expect([...unknown.headers.keys()].toSorted()).toEqual([...wrong.headers.keys()].toSorted())
  })

  test('without the right password nobody learns the state of an account', async () => {
    const newcomer = await makeUnverified(server, tenant)
    const gone = await makeUser(server, tenant)
    await tenant.admin.api.delete(`/users/${gone.id}`)
    for (const email of [newcomer.email, gone.email]) {
      const answer = await login(server, email, 'not the password')
      expect(problemOf(answer)).toEqual(problemOf(await login(server, freshEmail(), 'not the password')))
    }
    const mails = server.inbox.mails.filter(({ to }) => to === newcomer.email)
    expect(mails).toHaveLength(1)
  })

  test('with it, before verification: 403, and a new code is mailed that invalidates the old one', async () => {
    const newcomer = await makeUnverified(server, tenant)
    const refused = await onceArrived(server, () => login(server, newcomer.email))
    expect([refused.status, refused.body.code]).toEqual([403, 'email_not_verified'])
    const code = codeIn(await server.inbox.waitFor(newcomer.email))
    const verify = (otp: string) =>
      createClient(server.url).post('/auth/verify-email', { email: newcomer.email, otp })
    if (code !== newcomer.code) expect((await verify(newcomer.code)).body.code).toBe('otp_invalid')
    expect((await verify(wrongCode(code))).body.code).toBe('otp_invalid')
    expect((await verify(code)).body).toEqual({ email_verified: true })
    expect((await login(server, newcomer.email)).status).toBe(200)
  })

  test('a deactivated account, verified or not, is reported as such and gets no code', async () => {
    const newcomer = await makeUnverified(server, tenant)
    const member = await makeUser(server, tenant)
    for (const { id, email } of [newcomer, member]) {
      await tenant.admin.api.delete(`/users/${id}`)
      const before = server.inbox.mails.length
      const refused = await login(server, email)
      expect([refused.status, refused.body.code]).toEqual([403, 'account_deactivated'])
      await allMailed(server)
      expect(server.inbox.mails).toHaveLength(before)
      await tenant.admin.api.patch(`/users/${id}`, { is_active: true })
    }
    expect((await login(server, member.email)).status).toBe(200)
  })

  test('a deactivated tenant is reported to its users until it is reactivated', async () => {
    const other = await makeTenant(server)
    const root = await superAdmin(server)
    await root.api.delete(`/tenants/${other.id}`)
    const refused = await login(server, other.admin.email)
    expect([refused.status, refused.body.code]).toEqual([403, 'tenant_deactivated'])
    await root.api.patch(`/tenants/${other.id}`, { is_active: true })
    expect((await login(server, other.admin.email)).status).toBe(200)
  })

  test('a form on another site cannot sign anyone in', async () => {
    const ann = await makeUser(server, tenant)
    for (const type of [
      'application/x-www-form-urlencoded',
      'text/plain',
      'multipart/form-data; boundary=x',
    ]) {
      const response = await fetch(`${server.url}/api/v1/auth/login`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: type.startsWith('text')
          ? JSON.stringify({ email: ann.email, password: goodPassword })
          : `email=${ann.email}&password=${goodPassword}`,
      })
      expect(response.status).toBe(415)
    }
  })

  test('unknown fields are refused by name', async () => {
    const answer = await createClient(server.url).post('/auth/login', {
      email: 'a@b.example',
      password: 'x',
      role: 'super_admin',
    })
    expect(answer.status).toBe(422)
    expect(answer.body.errors).toMatchObject([{ field: 'role' }])
  })

  test('a hash with older parameters is upgraded at login, and only then', async () => {
    const server = await hashingServer(backend)
    const ann = (await makeTenant(server)).admin
    const old = await Bun.password.hash(goodPassword, {
      algorithm: 'argon2id',
      memoryCost: 4096,
      timeCost: 1,
    })
    await setHash(server, ann.email, old)
    expect((await login(server, ann.email, 'not the password')).status).toBe(401)
    expect(await storedHash(server, ann.email)).toBe(old)
    expect((await login(server, ann.email)).status).toBe(200)
    const renewed = await storedHash(server, ann.email)
    expect(renewed).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
    expect((await login(server, ann.email)).status).toBe(200)
    expect(await storedHash(server, ann.email)).toBe(renewed)
  })
})

async function setHash(server: TestServer, email: string, hash: string): Promise<void> {
  await server.running.deps.db.write(
    'system',
    sql`update users set password_hash = ${hash} where email = ${email}`,
  )
}
