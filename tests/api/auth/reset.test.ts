/** Password reset: one of the last three links works, once, and using it ends every session. */
import { beforeAll, expect, test } from 'bun:test'
import {
  allMailed,
  asBearer,
  later,
  login,
  makeUnverified,
  onceArrived,
  refresh,
  resetTokenFor,
} from '../../support/auth.ts'
import { type Answer, createClient } from '../../support/client.ts'
import { freshEmail, goodPassword, makeTenant, makeUser, type Tenant } from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'
import { linkIn } from '../../support/smtp.ts'

const newPassword = 'another horse, another staple'

describeBackends('a password reset', (backend) => {
  let server: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
  })

  const reset = (token: string, password = newPassword): Promise<Answer> =>
    createClient(server.url).post('/auth/reset-password', { token, new_password: password })

  async function expectInvalid(token: string): Promise<void> {
    const answer = await reset(token, 'a password nobody shall get')
    expect([answer.status, answer.body.code]).toEqual([400, 'reset_token_invalid'])
  }

  test('gets the same answer for every address, and is mailed only to active accounts', async () => {
    const gone = await makeUser(server, tenant)
    await tenant.admin.api.delete(`/users/${gone.id}`)
    const ann = await makeUser(server, tenant)
    const ask = (email: string) => createClient(server.url).post('/auth/forgot-password', { email })
    const before = server.inbox.mails.length
    for (const email of [freshEmail('nobody'), gone.email]) {
      const { status, text } = await ask(email)
      expect([status, text]).toEqual([202, ''])
    }
    await allMailed(server)
    expect(server.inbox.mails).toHaveLength(before)
    const { status, text } = await ask(ann.email)
    expect([status, text]).toEqual([202, ''])
    const link = linkIn(await server.inbox.waitFor(ann.email))
    expect(`${link.origin}${link.pathname}`).toBe(`${server.url}/reset-password`)
  })

  test('sets the password and reports it by mail', async () => {
    const ann = await makeUser(server, tenant)
    expect((await reset(await resetTokenFor(server, ann.email))).status).toBe(204)
    expect((await login(server, ann.email, newPassword)).status).toBe(200)
    expect((await login(server, ann.email)).body.code).toBe('invalid_credentials')
    await server.inbox.waitFor(ann.email, ({ subject }) => /password was changed/.test(subject))
  })

  test('ends every session of the user', async () => {
    const ann = await makeUser(server, tenant)
    const { body: phone } = await login(server, ann.email)
    expect((await reset(await resetTokenFor(server, ann.email))).status).toBe(204)
    for (const { access, renew } of [
      { access: ann.accessToken, renew: ann.refreshToken },
      { access: phone.access_token, renew: phone.refresh_token },
    ]) {
      expect((await asBearer(server, access).get('/auth/me')).body.code).toBe('token_revoked')
      expect((await refresh(server, renew)).body.code).toBe('refresh_token_invalid')
    }
  })

  test('works once', async () => {
    const ann = await makeUser(server, tenant)
    const token = await resetTokenFor(server, ann.email)
    expect((await reset(token)).status).toBe(204)
    await expectInvalid(token)
    expect((await login(server, ann.email, newPassword)).status).toBe(200)
  })

  test('raced, succeeds once', async () => {
    const ann = await makeUser(server, tenant)
    const token = await resetTokenFor(server, ann.email)
    const wanted = ['the first', 'the second', 'the third', 'the fourth'].map((word) => `${word} pass phrase`)
    const answers = await Promise.all(wanted.map((password) => reset(token, password)))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([204, 400, 400, 400])
    const logins = await Promise.all(wanted.map((password) => login(server, ann.email, password)))
    expect(logins.map(({ status }) => status === 200)).toEqual(answers.map(({ status }) => status === 204))
  })

  test('is not replaced while its link may still be on its way, by whoever asks for another', async () => {
    const ann = await makeUser(server, tenant)
    const token = await resetTokenFor(server, ann.email)
    const before = server.inbox.mails.length
    const ask = async () => {
      const answer = await createClient(server.url).post('/auth/forgot-password', { email: ann.email })
      expect([answer.status, answer.text]).toEqual([202, ''])
    }
    await Promise.all([ask(), ask(), ask()])
    await onceArrived(server, ask, 115)
    await allMailed(server)
    expect(server.inbox.mails).toHaveLength(before)
    expect((await reset(token)).status).toBe(204)
  })

  test('asked for many times at once is mailed once', async () => {
    const { email } = await makeUser(server, tenant)
    const asked = Array.from({ length: 8 }, () =>
      createClient(server.url).post('/auth/forgot-password', { email }),
    )
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array(8).fill(202))
    await allMailed(server)
    expect(server.inbox.mails.filter(({ to }) => to === email)).toHaveLength(2)
  })

  /** One link after another, each once the one before it has arrived. */
  const linksFor = async (email: string, count: number): Promise<string[]> => {
    const tokens: string[] = []
    for (let made = 0; made < count; made++)
      tokens.push(await onceArrived(server, () => resetTokenFor(server, email), 121 * made))
    return tokens
  }

  test('works by each of the last three links', async () => {
    const people = await Promise.all([1, 2, 3].map(() => makeUser(server, tenant)))
    for (const [index, { email }] of people.entries()) {
      const [first = '', ...lastThree] = await linksFor(email, 4)
      await expectInvalid(first)
      expect((await reset(lastThree[index] ?? '')).status).toBe(204)
    }
  })

  test('by one link makes the others worthless, also when two are used at once', async () => {
    const ann = await makeUser(server, tenant)
    const tokens = await linksFor(ann.email, 3)
    const answers = await Promise.all(tokens.map((token) => reset(token)))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([204, 400, 400])
    for (const token of tokens) await expectInvalid(token)
    expect((await login(server, ann.email, newPassword)).status).toBe(200)
  })

  test('is invalid after the password was changed otherwise', async () => {
    const ann = await makeUser(server, tenant)
    const token = await resetTokenFor(server, ann.email)
    const change = { current_password: goodPassword, new_password: newPassword }
    expect((await ann.api.post('/auth/change-password', change)).status).toBe(204)
    await expectInvalid(token)
  })

  test('is invalid while the account is deactivated', async () => {
    const ann = await makeUser(server, tenant)
    const token = await resetTokenFor(server, ann.email)
    await tenant.admin.api.delete(`/users/${ann.id}`)
    await expectInvalid(token)
  })

  // Redis has its own clock, which cannot be advanced; the store's suite shows that entries expire there.
  if (backend === 'embedded')
    test('is invalid after its expiry', async () => {
      const ann = await makeUser(server, tenant)
      const token = await resetTokenFor(server, ann.email)
      await later(29 * 60, async () => expect((await reset(token, 'short')).status).toBe(422))
      await later(30 * 60 + 1, () => expectInvalid(token))
      // A later link does not prolong the life of an earlier one.
      const newer = await onceArrived(server, () => resetTokenFor(server, ann.email))
      await later(30 * 60 + 1, () => expectInvalid(token))
      await later(30 * 60 + 1, async () => expect((await reset(newer, 'short')).status).toBe(422))
    })

  test('refused for a weak password stays valid for a better one', async () => {
    const ann = await makeUser(server, tenant)
    const token = await resetTokenFor(server, ann.email)
    for (const password of ['password1', 'short', ann.email]) {
      const refused = await reset(token, password)
      expect([refused.status, refused.body.errors?.[0]?.field]).toEqual([422, 'new_password'])
    }
    expect((await reset(token)).status).toBe(204)
  })

  test('cannot be forged or redirected to another user', async () => {
    const ann = await makeUser(server, tenant)
    const ben = await makeUser(server, tenant)
    const token = await resetTokenFor(server, ann.email)
    const flipped = `${token.slice(0, -2)}${token.endsWith('AA') ? 'BB' : 'AA'}`
    for (const forged of ['', 'x', '...', flipped, token.replace(ann.id, ben.id), ann.accessToken])
      await expectInvalid(forged)
    expect((await reset(token)).status).toBe(204)
    expect((await login(server, ben.email)).status).toBe(200)
  })

  test('does not verify the address', async () => {
    const newcomer = await makeUnverified(server, tenant)
    expect((await reset(await resetTokenFor(server, newcomer.email))).status).toBe(204)
    expect((await login(server, newcomer.email, newPassword)).body.code).toBe('email_not_verified')
  })
})
