/** Access tokens: what they say, and everything that only looks like one and is refused. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { asBearer, claimsOf, forge, headerOf, later, login, refresh } from '../support/auth.ts'
import { readAnswer } from '../support/client.ts'
import { makeTenant, makeUser, type Person, superAdmin, type Tenant } from '../support/people.ts'
import {
  describeBackends,
  describeFull,
  sharedServer,
  startInstance,
  startServer,
  type TestServer,
} from '../support/server.ts'

const hs256 = { alg: 'HS256', typ: 'JWT' }

describeBackends('an access token', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let secret: string

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
    secret = server.environment['JWT_SECRET_KEY'] ?? ''
  })

  const answerTo = async (token: string): Promise<unknown[]> => {
    const { status, body, headers } = await asBearer(server, token).get('/auth/me')
    return status === 200 ? [200] : [status, body.code, headers.get('www-authenticate')]
  }
  const invalid = [401, 'token_invalid', 'Bearer']

  test('says who, in which tenant, in which role and session, from whom, for what and how long', () => {
    expect(headerOf(ann.accessToken)['alg']).toBe('HS256')
    const claims = claimsOf(ann.accessToken)
    expect(claims).toMatchObject({ sub: ann.id, tid: tenant.id, role: 'member', typ: 'access' })
    for (const name of ['sid', 'jti', 'iss', 'aud']) expect(claims[name]).toBeString()
    expect(Number(claims['exp']) - Number(claims['iat'])).toBe(900)
    expect(Math.abs(Number(claims['iat']) - Date.now() / 1000)).toBeLessThan(60)
  })

  test('names a super admin as such, of no tenant', async () => {
    const root = await superAdmin(server)
    expect(claimsOf(root.accessToken)).toMatchObject({ role: 'super_admin', tid: null })
  })

  test('has an id of its own each time', async () => {
    const tokens = [ann.accessToken, (await login(server, ann.email)).body.access_token]
    tokens.push((await refresh(server, ann.refreshToken)).body.access_token)
    expect(new Set(tokens.map((token) => claimsOf(token)['jti'])).size).toBe(3)
  })

  test('is believed when made by hand with the same claims and key, so what follows proves something', async () => {
    expect(await answerTo(forge(claimsOf(ann.accessToken), secret, hs256))).toEqual([200])
  })

  test('of no algorithm, or another one under the right key, is refused', async () => {
    const claims = claimsOf(ann.accessToken)
    for (const alg of ['none', 'None', 'HS384', 'HS512', 'RS256', 'ES256', ''])
      expect(await answerTo(forge(claims, secret, { alg, typ: 'JWT' }))).toEqual(invalid)
    const [header, body] = forge(claims, secret, { alg: 'none' }).split('.')
    expect(await answerTo(`${header}.${body}.`)).toEqual(invalid)
  })

  test('under another key is refused', async () => {
    const other = 'another key that is long enough to be one'
    expect(await answerTo(forge(claimsOf(ann.accessToken), other, hs256))).toEqual(invalid)
    expect(await answerTo(forge(claimsOf(ann.accessToken), '', hs256))).toEqual(invalid)
  })

  test.each([
    ['of another kind', { typ: 'invitation' }],
    ['of no kind', { typ: undefined }],
    ['for another audience', { aud: 'somebody-else' }],
    ['for no audience', { aud: undefined }],
    ['from another issuer', { iss: 'somebody-else' }],
    ['from no issuer', { iss: undefined }],
    ['without an end', { exp: undefined }],
    ['without a session', { sid: undefined }],
    ['with an unknown role', { role: 'owner' }],
    ['with a tenant that is no id', { tid: "' or true --" }],
    ['of nobody', { sub: undefined }],
  ])('%s is refused, though rightly signed', async (_what, change) => {
    expect(await answerTo(forge({ ...claimsOf(ann.accessToken), ...change }, secret, hs256))).toEqual(invalid)
  })

  test('that was tampered with is refused', async () => {
    const [header = '', , signature = ''] = ann.accessToken.split('.')
    const claims = { ...claimsOf(ann.accessToken), role: 'tenant_admin' }
    const body = Buffer.from(JSON.stringify(claims)).toString('base64url')
    expect(await answerTo(`${header}.${body}.${signature}`)).toEqual(invalid)
  })

  test('that has expired is refused as such, by the clock and by its claim', async () => {
    const expired = [401, 'token_expired', 'Bearer']
    const exp = Math.floor(Date.now() / 1000) - 1
    expect(await answerTo(forge({ ...claimsOf(ann.accessToken), exp }, secret, hs256))).toEqual(expired)
    expect(await later(14 * 60, () => answerTo(ann.accessToken))).toEqual([200])
    expect(await later(15 * 60 + 1, () => answerTo(ann.accessToken))).toEqual(expired)
  })

  test('is no refresh token, and the other way round', async () => {
    const { body } = await login(server, ann.email)
    expect(await answerTo(body.refresh_token)).toEqual(invalid)
    const answer = await refresh(server, body.access_token)
    expect([answer.status, answer.body.code]).toEqual([401, 'refresh_token_invalid'])
  })

  test('is asked for where there is none, and nothing else passes for one', async () => {
    const bare = await fetch(`${server.url}/api/v1/auth/me`)
    const problem = await readAnswer('GET', '/auth/me', bare)
    expect([problem.status, problem.body.code]).toEqual([401, 'token_missing'])
    for (const authorization of ['Bearer', 'Bearer x', `Basic ${ann.accessToken}`, ann.accessToken]) {
      const answer = await fetch(`${server.url}/api/v1/auth/me`, { headers: { authorization } })
      const { status, body } = await readAnswer('GET', '/auth/me', answer)
      expect([status, body.code]).toEqual([401, 'token_invalid'])
    }
    const inUrl = await fetch(`${server.url}/api/v1/auth/me?token=${ann.accessToken}`)
    expect(inUrl.status).toBe(401)
  })
})

describeFull('a change of the signing key', () => {
  const oldKey = 'tests only: the key that was before; 0123456789'
  const newKey = 'tests only: the key that comes after; 0123456789'
  let before: TestServer
  let after: TestServer
  let withoutOldKey: TestServer
  let ann: Person

  beforeAll(async () => {
    before = await startServer('full', { JWT_SECRET_KEY: oldKey })
    after = await startInstance(before, { JWT_SECRET_KEY: newKey, JWT_PREVIOUS_SECRET_KEYS: oldKey })
    withoutOldKey = await startInstance(before, { JWT_SECRET_KEY: newKey })
    ann = await makeUser(before, await makeTenant(before))
  })
  afterAll(async () => {
    await Promise.all([after.stop(), withoutOldKey.stop()])
    await before.stop()
  })

  describe('with the old one kept', () => {
    test('leaves access tokens good, and new ones are made with the new key alone', async () => {
      expect((await asBearer(after, ann.accessToken).get('/auth/me')).status).toBe(200)
      const { body } = await login(after, ann.email)
      expect((await asBearer(after, body.access_token).get('/auth/me')).status).toBe(200)
      expect((await asBearer(withoutOldKey, body.access_token).get('/auth/me')).status).toBe(200)
      expect((await asBearer(before, body.access_token).get('/auth/me')).status).toBe(401)
    })

    test('signs nobody out: refresh tokens stay good and are renewed under the new key', async () => {
      const { body: first } = await login(before, ann.email)
      const { status, body: second } = await refresh(after, first.refresh_token)
      expect(status).toBe(200)
      expect((await refresh(withoutOldKey, second.refresh_token)).status).toBe(200)
    })
  })

  test('without it refuses what the old one signed', async () => {
    const { body } = await login(before, ann.email)
    expect((await asBearer(withoutOldKey, body.access_token).get('/auth/me')).body.code).toBe('token_invalid')
    expect((await refresh(withoutOldKey, body.refresh_token)).body.code).toBe('refresh_token_invalid')
  })
})
