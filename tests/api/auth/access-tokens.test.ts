/** Access tokens: their claims, lifetime and transport. Forged ones: tests/access/tokens. */
import { beforeAll, expect, test } from 'bun:test'
import { asBearer, claimsOf, headerOf, later, login, refresh } from '../../support/auth.ts'
import { readAnswer } from '../../support/client.ts'
import { makeTenant, makeUser, type Person, superAdmin, type Tenant } from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'

describeBackends('an access token', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
  })

  const answerTo = async (token: string): Promise<unknown[]> => {
    const { status, body, headers } = await asBearer(server, token).get('/auth/me')
    return status === 200 ? [200] : [status, body.code, headers.get('www-authenticate')]
  }

  test('states user, tenant, role, session, issuer, audience and expiry', () => {
    expect(headerOf(ann.accessToken)['alg']).toBe('HS256')
    const claims = claimsOf(ann.accessToken)
    expect(claims).toMatchObject({ sub: ann.id, tid: tenant.id, role: 'member', typ: 'access' })
    for (const name of ['sid', 'jti', 'iss', 'aud']) expect(claims[name]).toBeString()
    expect(Number(claims['exp']) - Number(claims['iat'])).toBe(900)
    expect(Math.abs(Number(claims['iat']) - Date.now() / 1000)).toBeLessThan(60)
  })

  test('names a super admin as such, without a tenant', async () => {
    const root = await superAdmin(server)
    expect(claimsOf(root.accessToken)).toMatchObject({ role: 'super_admin', tid: null })
  })

  test('has an id of its own each time', async () => {
    const tokens = [ann.accessToken, (await login(server, ann.email)).body.access_token]
    tokens.push((await refresh(server, ann.refreshToken)).body.access_token)
    expect(new Set(tokens.map((token) => claimsOf(token)['jti'])).size).toBe(3)
  })

  test('that has expired is refused as expired, to the second', async () => {
    const expired = [401, 'token_expired', 'Bearer']
    expect(await later(14 * 60, () => answerTo(ann.accessToken))).toEqual([200])
    expect(await later(15 * 60 + 1, () => answerTo(ann.accessToken))).toEqual(expired)
  })

  test('is required, and nothing else passes for one', async () => {
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
