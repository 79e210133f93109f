/** The caller's sessions: listed, ended one by one, and signed out. */
import { beforeAll, expect, test } from 'bun:test'
import { asBearer, beginSessions, claimsOf, login, refresh } from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import {
  goodPassword,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'

describeBackends('sessions', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
  })

  const listOf = async (person: Person) => (await person.api.get('/auth/sessions')).body.data

  async function expectEnded(tokens: { access_token: string; refresh_token: string }): Promise<void> {
    const answer = await asBearer(server, tokens.access_token).get('/auth/me')
    expect([answer.status, answer.body.code]).toEqual([401, 'token_revoked'])
    const renewed = await refresh(server, tokens.refresh_token)
    expect([renewed.status, renewed.body.code]).toEqual([401, 'refresh_token_invalid'])
  }

  test('are listed with their origin, most recently used first, the current one marked', async () => {
    const ann = await makeUser(server, tenant)
    const signedIn = await createClient(server.url).post(
      '/auth/login',
      { email: ann.email, password: goodPassword },
      { headers: { 'user-agent': "Ann's phone" } },
    )
    const phone = claimsOf(signedIn.body.access_token)['sid']
    const sessions = await listOf(ann)
    expect(sessions).toMatchObject([
      { id: phone, current: false, user_agent: "Ann's phone", address: '127.0.0.1' },
      { id: claimsOf(ann.accessToken)['sid'], current: true },
    ])
    for (const { created_at, last_used_at, expires_at } of sessions) {
      expect(Date.parse(last_used_at)).toBeGreaterThanOrEqual(Date.parse(created_at))
      expect((Date.parse(expires_at) - Date.parse(last_used_at)) / 86_400_000).toBeCloseTo(7, 3)
    }
    await refresh(server, ann.refreshToken)
    expect((await listOf(ann))[0]).toMatchObject({ current: true })
  })

  test('contain no credentials', async () => {
    const ann = await makeUser(server, tenant)
    const [session] = await listOf(ann)
    expect(Object.keys(session).toSorted()).toEqual(
      ['address', 'created_at', 'current', 'expires_at', 'id', 'last_used_at', 'user_agent'].toSorted(),
    )
  })

  test('ending one ends its tokens and no other session', async () => {
    const ann = await makeUser(server, tenant)
    const { body: phone } = await login(server, ann.email)
    const id = claimsOf(phone.access_token)['sid']
    expect((await ann.api.delete(`/auth/sessions/${id}`)).status).toBe(204)
    await expectEnded(phone)
    expect(await listOf(ann)).toMatchObject([{ current: true }])
    expect((await refresh(server, ann.refreshToken)).status).toBe(200)
    expect((await ann.api.delete(`/auth/sessions/${id}`)).status).toBe(404)
  })

  test('the current one may be ended too', async () => {
    const ann = await makeUser(server, tenant)
    expect((await ann.api.delete(`/auth/sessions/${claimsOf(ann.accessToken)['sid']}`)).status).toBe(204)
    await expectEnded({ access_token: ann.accessToken, refresh_token: ann.refreshToken })
  })

  test('of someone else are not found, and continue', async () => {
    const ann = await makeUser(server, tenant)
    const ben = await makeUser(server, tenant)
    const id = claimsOf(ben.accessToken)['sid']
    for (const stranger of [ann, tenant.admin, await superAdmin(server)]) {
      const answer = await stranger.api.delete(`/auth/sessions/${id}`)
      expect([answer.status, answer.body.code]).toEqual([404, 'not_found'])
    }
    expect((await ann.api.delete('/auth/sessions/no-id')).status).toBe(422)
    expect((await ben.api.get('/auth/me')).status).toBe(200)
    expect((await refresh(server, ben.refreshToken)).status).toBe(200)
  })

  test('signing out ends only the current one', async () => {
    const ann = await makeUser(server, tenant)
    const { body: phone } = await login(server, ann.email)
    const { status, text } = await ann.api.post('/auth/logout')
    expect([status, text]).toEqual([204, ''])
    await expectEnded({ access_token: ann.accessToken, refresh_token: ann.refreshToken })
    expect((await asBearer(server, phone.access_token).get('/auth/me')).status).toBe(200)
    expect((await refresh(server, phone.refresh_token)).status).toBe(200)
  })

  test('a session signed out during a refresh ends all the same', async () => {
    for (let round = 0; round < 5; round++) {
      const ann = await makeUser(server, tenant)
      const [, renewed] = await Promise.all([ann.api.post('/auth/logout'), refresh(server, ann.refreshToken)])
      if (renewed.status === 200) await expectEnded(renewed.body)
      else expect(renewed.body.code).toBe('refresh_token_invalid')
    }
  })

  test('that ended with the tenant are not listed after its reactivation', async () => {
    const other = await makeTenant(server)
    const root = await superAdmin(server)
    await root.api.delete(`/tenants/${other.id}`)
    await root.api.patch(`/tenants/${other.id}`, { is_active: true })
    const { body } = await login(server, other.admin.email)
    const answer = await asBearer(server, body.access_token).get('/auth/sessions')
    expect(answer.body.data).toMatchObject([{ current: true }])
  })

  test('are limited to 50: a new one ends the least recently used, its access token too', async () => {
    const ann = await makeUser(server, tenant)
    const { body: second } = await login(server, ann.email)
    await beginSessions(server, ann, tenant, 48)
    expect((await ann.api.get('/auth/me')).status).toBe(200)
    const { body: newest } = await login(server, ann.email)
    const sessions: { id: string }[] = await server.running.deps.sessions.list(ann.id)
    expect(sessions).toHaveLength(50)
    for (const { access_token } of [second, newest]) {
      expect(sessions.map(({ id }) => id)).toContain(String(claimsOf(access_token)['sid']))
      expect((await asBearer(server, access_token).get('/auth/me')).status).toBe(200)
    }
    await expectEnded({ access_token: ann.accessToken, refresh_token: ann.refreshToken })
  })

  test('callers may change their own name and nothing else of the account', async () => {
    const ann = await makeUser(server, tenant)
    const changed = await ann.api.patch('/auth/me', { full_name: '  Ann Other ' })
    expect(changed.body).toMatchObject({ id: ann.id, full_name: 'Ann Other' })
    const again = await ann.api.patch('/auth/me', { full_name: 'Ann Other' })
    expect(again.body).toEqual(changed.body)
    const forbidden = { role: 'tenant_admin', tenant_id: tenant.id, email_verified: true, is_active: false }
    for (const [field, value] of Object.entries({ ...forbidden, email: 'x@y.example', password: 'x' })) {
      const answer = await ann.api.patch('/auth/me', { [field]: value })
      expect([answer.status, answer.body.errors?.[0]?.field]).toEqual([422, field])
    }
    expect((await ann.api.get('/auth/me')).body).toEqual(changed.body)
  })
})
