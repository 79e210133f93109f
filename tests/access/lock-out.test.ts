/** A stranger who tries somebody's address over and over shuts out other strangers, not its owner. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { from, login } from '../support/auth.ts'
import { createClient } from '../support/client.ts'
import { goodPassword, makeTenant, makeUser, type Person } from '../support/people.ts'
import { describeBackends, startServer, type TestServer } from '../support/server.ts'

const home = '203.0.113.7'

describeBackends('an account that a stranger keeps busy', (backend) => {
  let server: TestServer
  let ann: Person
  let strangers = 0
  beforeAll(async () => {
    server = await startServer(backend, { RATE_LIMIT_AUTH: '10/hour', TRUST_PROXY: '1' })
    ann = await makeUser(server, await makeTenant(server))
    expect((await login(server, ann.email, goodPassword, home)).status).toBe(200)
    await fill()
  })
  afterAll(() => server.stop())

  /** Each try from another address, until the account's limit is used up. */
  async function fill(): Promise<void> {
    const tries: number[] = []
    while (tries.at(-1) !== 429)
      tries.push((await login(server, ann.email, 'a guess', `198.51.100.${++strangers}`)).status)
    expect(new Set(tries.slice(0, -1))).toEqual(new Set([401]))
  }

  test('its owner signs in from where they signed in lately, and no stranger from elsewhere', async () => {
    expect((await login(server, ann.email, goodPassword, '192.0.2.1')).status).toBe(429)
    expect((await login(server, ann.email, goodPassword, home)).status).toBe(200)
    expect((await login(server, ann.email, 'a guess', `198.51.100.${++strangers}`)).status).toBe(429)
  })

  test.each(['/auth/forgot-password', '/auth/resend-otp'])('%s works there as well', async (path) => {
    const ask = async (address: string) =>
      (await createClient(server.url).post(path, { email: ann.email }, from(address))).status
    expect([await ask('192.0.2.2'), await ask(home)]).toEqual([429, 202])
  })

  test('a code is looked at there as well', async () => {
    const body = { email: ann.email, otp: '000000' }
    const ask = async (address: string) =>
      (await createClient(server.url).post('/auth/verify-email', body, from(address))).status
    expect([await ask('192.0.2.3'), await ask(home)]).toEqual([429, 400])
  })

  test('a session changes the password from anywhere, also where strangers used up the address', async () => {
    const change = { current_password: goodPassword, new_password: 'quite another one' }
    const address = '198.51.100.200'
    for (let count = 0; count < 11; count++) await login(server, `nobody-${count}@shop.example`, 'x', address)
    expect((await login(server, 'nobody@shop.example', 'x', address)).status).toBe(429)
    expect((await ann.api.post('/auth/change-password', change, from(address))).status).toBe(204)
  })
})
