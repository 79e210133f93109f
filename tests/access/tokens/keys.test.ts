/** Rotating JWT_SECRET_KEY: what was issued under the previous key stays valid only while that key is kept. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { loadConfig } from '../../../src/config/config.ts'
import { start } from '../../../src/server.ts'
import { makeUnverified, refresh, resetTokenFor, wrongCode } from '../../support/auth.ts'
import { type Answer, createClient } from '../../support/client.ts'
import {
  asPerson,
  goodPassword,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { cheapHashes, describeBackends, startServer, type TestServer } from '../../support/server.ts'

const keys = {
  older: 'tests only: the key before the one before; 0123456789',
  old: 'tests only: the key that was before; 0123456789',
  new: 'tests only: the key that comes after; 0123456789',
}

/** One of each thing that depends on the key, for people of its own. */
interface Given {
  signedIn: Person
  guest: Person
  invitation: string
  forgetful: Person
  reset: string
  newcomer: { email: string; code: string }
}

describeBackends('a change of the signing key', (backend) => {
  let server: TestServer
  let tenant: Tenant
  const given: Record<'underOlder' | 'underOld' | 'underOldToo' | 'underNew', Given | null> = {
    underOlder: null,
    underOld: null,
    underOldToo: null,
    underNew: null,
  }
  let guessedAt: { email: string; code: string }

  /** Restarts the service with other keys on the same state. */
  async function restart(key: string, previous: string[]): Promise<void> {
    await server.running.stop()
    const environment = {
      ...server.environment,
      JWT_SECRET_KEY: key,
      JWT_PREVIOUS_SECRET_KEYS: previous.join(','),
    }
    const running = await start(loadConfig(environment), server.log, cheapHashes)
    const { stop } = server
    server = {
      ...server,
      running,
      url: running.url,
      environment,
      stop: async () => {
        await running.stop()
        await stop()
      },
    }
  }

  /** Its admin signs in again, as the service has another address now. */
  const tenantHere = async (): Promise<Tenant> => ({
    ...tenant,
    admin: await asPerson(server, tenant.admin.email, tenant.admin.password),
  })

  async function give(): Promise<Given> {
    const here = await tenantHere()
    const { admin } = here
    const [signedIn, guest, forgetful] = await Promise.all([1, 2, 3].map(() => makeUser(server, here)))
    if (!signedIn || !guest || !forgetful) throw new Error('a person is missing')
    const { id } = await makeList(admin)
    const invited = await admin.api.post(`/shopping-lists/${id}/invite`, { email: guest.email })
    return {
      signedIn,
      guest,
      invitation: invited.body.token,
      forgetful,
      reset: await resetTokenFor(server, forgetful.email),
      newcomer: await makeUnverified(server, here),
    }
  }

  /** The outcome of using each one, the access token first. */
  async function use(things: Given | null): Promise<Record<string, string>> {
    if (!things) throw new Error('nothing was issued')
    const { signedIn, guest, invitation, forgetful, reset, newcomer } = things
    const open = createClient(server.url)
    const renewed = await refresh(server, signedIn.refreshToken)
    const asGuest = await asPerson(server, guest.email, guest.password)
    const answers: Record<string, Answer> = {
      access: await createClient(server.url, signedIn.accessToken).get('/auth/me'),
      refresh: renewed,
      invitation: await asGuest.api.post('/invitations/accept', { token: invitation }),
      reset: await open.post('/auth/reset-password', { token: reset, new_password: `not ${goodPassword}` }),
      code: await open.post('/auth/verify-email', { email: newcomer.email, otp: newcomer.code }),
    }
    if (renewed.status === 200) {
      expect(signedBy(renewed.body.access_token)).toBe(server.environment['JWT_SECRET_KEY'] ?? '')
      answers['successor'] = await refresh(server, renewed.body.refresh_token)
    }
    expect(
      (await createClient(server.url).post('/auth/login', { email: forgetful.email, password: goodPassword }))
        .status,
    ).toBe(answers['reset']?.status === 204 ? 401 : 200)
    return Object.fromEntries(
      Object.entries(answers).map(([what, { status, body }]) => [
        what,
        `${status} ${body?.code ?? ''}`.trim(),
      ]),
    )
  }

  const good = {
    access: '200',
    refresh: '200',
    invitation: '200',
    reset: '204',
    code: '200',
    successor: '200',
  }
  const dead = {
    access: '401 token_invalid',
    refresh: '401 refresh_token_invalid',
    invitation: '400 invitation_invalid',
    reset: '400 reset_token_invalid',
    code: '400 otp_invalid',
  }

  beforeAll(async () => {
    server = await startServer(backend, { JWT_SECRET_KEY: keys.older })
    tenant = await makeTenant(server)
    given.underOlder = await give()
    await restart(keys.old, [keys.older])
    given.underOld = await give()
    given.underOldToo = await give()
    guessedAt = await makeUnverified(server, await tenantHere())
    for (let guess = 0; guess < 4; guess++) await verify(wrongCode(guessedAt.code))
    await restart(keys.new, [keys.old, keys.older])
  })
  afterAll(() => server.stop())

  const verify = (otp: string): Promise<Answer> =>
    createClient(server.url).post('/auth/verify-email', { email: guessedAt.email, otp })

  test('invalidates nothing that was issued under a key that is kept', async () => {
    expect(await use(given.underOld)).toEqual(good)
    expect(await use(given.underOlder)).toEqual(good)
  })

  test('grants no new guesses at a code, and a new code still invalidates the one before it', async () => {
    expect((await verify(wrongCode(guessedAt.code))).body.code).toBe('otp_invalid')
    expect((await verify(guessedAt.code)).body.code).toBe('otp_attempts_exceeded')
    await createClient(server.url).post('/auth/login', { email: guessedAt.email, password: goodPassword })
    await server.inbox.waitFor(guessedAt.email)
    expect((await verify(guessedAt.code)).body.code).toBe('otp_invalid')
  })

  test('signs only with the new key, and once the old key is dropped refuses what it signed', async () => {
    given.underNew = await give()
    for (const token of [given.underNew.signedIn.accessToken, given.underNew.invitation])
      expect(signedBy(token)).toBe(keys.new)
    await restart(keys.new, [])
    expect(await use(given.underNew)).toEqual(good)
    expect(await use(given.underOldToo)).toEqual(dead)
  })
})

/** Which of these keys signed the token. */
const signedBy = (token: string): string | undefined => {
  const [header, payload, signature] = token.split('.')
  return Object.values(keys).find(
    (key) => createHmac('sha256', key).update(`${header}.${payload}`).digest('base64url') === signature,
  )
}
