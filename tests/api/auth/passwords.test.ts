/** Passwords: which are accepted, how they are stored, and changing one's own. */
import { beforeAll, expect, test } from 'bun:test'
import { asBearer, claimsOf, login, refresh, storedHash } from '../../support/auth.ts'
import {
  freshEmail,
  goodPassword,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, hashingServer, sharedServer, type TestServer } from '../../support/server.ts'

const newPassword = 'another horse, another staple'

describeBackends('a password', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
  })

  const change = (person: Person, next: string, current = goodPassword) =>
    person.api.post('/auth/change-password', { current_password: current, new_password: next })

  test('is stored as salted argon2id with at least 19 MiB, two rounds and one lane', async () => {
    const hashing = await hashingServer(backend)
    const home = await makeTenant(hashing)
    const people = [home.admin, await makeUser(hashing, home)]
    const hashes = await Promise.all(people.map(({ email }) => storedHash(hashing, email.toLowerCase())))
    for (const hash of hashes) {
      const [, memory, rounds, lanes] = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$/.exec(hash) ?? []
      expect(Number(memory)).toBeGreaterThanOrEqual(19 * 1024)
      expect(Number(rounds)).toBeGreaterThanOrEqual(2)
      expect(Number(lanes)).toBeGreaterThanOrEqual(1)
    }
    expect(hashes[0]).not.toBe(hashes[1])
  })

  test.each([
    ['eight characters', 'xq9-Zp4w'],
    ['128 characters', 'pineapple tea. '.repeat(9).slice(0, 128)],
    ['blanks, at the ends too', '  a phrase with blanks  '],
    ['emoji counted as one character each', '🦄🍌🥑🧀🍞🥛🍎🍇'],
    ['128 emoji', '🥑🥕'.repeat(64)],
    ['any script', 'пароль-из-слов'],
  ])('may have %s, and signs in as it was typed', async (_what, password) => {
    const ann = await makeUser(server, tenant)
    expect((await change(ann, password)).status).toBe(204)
    expect((await login(server, ann.email, password)).status).toBe(200)
    if (password !== password.trim())
      expect((await login(server, ann.email, password.trim())).status).toBe(401)
  })

  test('composed and decomposed letters are the same password', async () => {
    const ann = await makeUser(server, tenant)
    expect((await change(ann, 'crème brûlée'.normalize('NFD'))).status).toBe(204)
    expect((await login(server, ann.email, 'crème brûlée'.normalize('NFC'))).status).toBe(200)
  })

  test.each([
    ['seven characters', 'xq9-Zp4'],
    ['seven emoji', '🦄🍌🥑🧀🍞🥛🍎'],
    ['129 characters', 'x'.repeat(129)],
    ['one of the most common ones', 'password1'],
    ['one of the most common ones in other letters', 'QwertyUIOP'],
    ['no string', 12_345_678],
  ])('of %s is refused wherever one is chosen', async (_what, password) => {
    const ann = await makeUser(server, tenant)
    const changed = await ann.api.post('/auth/change-password', {
      current_password: goodPassword,
      new_password: password,
    })
    expect([changed.status, changed.body.errors?.[0]?.field]).toEqual([422, 'new_password'])
    const body = { email: freshEmail(), full_name: 'Ben', password }
    const made = await tenant.admin.api.post('/users', body)
    expect([made.status, made.body.errors?.[0]?.field]).toEqual([422, 'password'])
    expect((await login(server, ann.email)).status).toBe(200)
  })

  test('that is the e-mail address is refused, in any case', async () => {
    const ann = await makeUser(server, tenant)
    for (const password of [ann.email, ann.email.toUpperCase()])
      expect((await change(ann, password)).status).toBe(422)
    const email = freshEmail()
    const made = await tenant.admin.api.post('/users', { email, full_name: 'Ben', password: email })
    expect([made.status, made.body.errors?.[0]?.field]).toEqual([422, 'password'])
  })

  test('is changed only with the current one', async () => {
    const ann = await makeUser(server, tenant)
    const refused = await change(ann, newPassword, 'not the password')
    expect([refused.status, refused.body.code]).toEqual([400, 'current_password_wrong'])
    expect((await login(server, ann.email)).status).toBe(200)
    expect((await login(server, ann.email, newPassword)).status).toBe(401)
  })

  test('changed: only the new one signs in, and a mail reports the change', async () => {
    const ann = await makeUser(server, tenant)
    expect((await change(ann, newPassword)).status).toBe(204)
    expect((await login(server, ann.email, newPassword)).status).toBe(200)
    expect((await login(server, ann.email)).body.code).toBe('invalid_credentials')
    const mail = await server.inbox.waitFor(ann.email, ({ subject }) => /password was changed/.test(subject))
    expect(mail.raw).not.toContain(newPassword)
  })

  test('changed: every other session ends, this one continues, its refresh token too', async () => {
    const ann = await makeUser(server, tenant)
    const { body: phone } = await login(server, ann.email)
    expect((await change(ann, newPassword)).status).toBe(204)
    expect((await asBearer(server, phone.access_token).get('/auth/me')).body.code).toBe('token_revoked')
    expect((await refresh(server, phone.refresh_token)).body.code).toBe('refresh_token_invalid')
    expect((await ann.api.get('/auth/me')).status).toBe(200)
    const renewed = await refresh(server, ann.refreshToken)
    expect(renewed.status).toBe(200)
    expect(claimsOf(renewed.body.access_token)['sid']).toBe(claimsOf(ann.accessToken)['sid'])
    expect((await asBearer(server, renewed.body.access_token).get('/auth/me')).status).toBe(200)
    const { body } = await ann.api.get('/auth/sessions')
    expect(body.data).toMatchObject([{ current: true }])
  })

  test('changed twice from two sessions: only the last session remains', async () => {
    const ann = await makeUser(server, tenant)
    expect((await change(ann, newPassword)).status).toBe(204)
    const { body: phone } = await login(server, ann.email, newPassword)
    const asPhone = asBearer(server, phone.access_token)
    const second = await asPhone.post('/auth/change-password', {
      current_password: newPassword,
      new_password: goodPassword,
    })
    expect(second.status).toBe(204)
    expect((await ann.api.get('/auth/me')).status).toBe(401)
    expect((await refresh(server, ann.refreshToken)).status).toBe(401)
    expect((await asPhone.get('/auth/me')).status).toBe(200)
  })

  test('changed by two at the same time: one of them wins', async () => {
    const ann = await makeUser(server, tenant)
    const wanted = ['the first new pass phrase', 'the second new pass phrase']
    const answers = await Promise.all(wanted.map((password) => change(ann, password)))
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1)
    const logins = await Promise.all(wanted.map((password) => login(server, ann.email, password)))
    expect(logins.map(({ status }) => status === 200)).toEqual(answers.map(({ status }) => status === 204))
  })
})
