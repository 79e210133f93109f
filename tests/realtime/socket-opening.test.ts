/** Who may open a socket, and its first message. */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import { version } from '../../src/version.ts'
import { claimsOf, forge } from '../support/auth.ts'
import { makeTenant, makeUser, type Person, superAdmin, type Tenant } from '../support/people.ts'
import { describeBackends, sharedServer, startServer, type TestServer } from '../support/server.ts'
import { closeCode, closeSockets, openSocket, socketUrl } from '../support/socket.ts'

describeBackends('opening a socket', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  const now = (): number => Math.floor(Date.now() / 1000)
  const forged = (claims: Record<string, unknown>, secret = server.environment['JWT_SECRET_KEY'] ?? '') =>
    forge({ ...claimsOf(ann.accessToken), ...claims }, secret, { alg: 'HS256', typ: 'JWT' })

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant)
  })
  afterEach(closeSockets)

  test.each(['query', 'subprotocol'] as const)('the token may be given by %s', async (via) => {
    const socket = await openSocket(server, ann.accessToken, { via })
    const expires = new Date(Number(claimsOf(ann.accessToken)['exp']) * 1000).toISOString()
    expect(await socket.next('connected')).toEqual({
      type: 'connected',
      payload: { user_id: ann.id, protocol: 1, version, expires_at: expires },
    })
    expect(socket.protocol).toBe(via === 'subprotocol' ? 'minimart.v1' : '')
    await socket.settled()
    expect(socket.messages.map(({ type }) => type)).toEqual(['connected', 'pong'])
  })

  test('a token in the subprotocol wins over one in the URL, and is never echoed as the chosen protocol', async () => {
    const webSocket = new WebSocket(socketUrl(server.url, 'bad'), {
      protocols: [`bearer.${ann.accessToken}`, 'minimart.v1'],
    })
    const first = Promise.withResolvers<unknown>()
    webSocket.addEventListener('message', ({ data }) => first.resolve(JSON.parse(String(data))))
    expect(await first.promise).toMatchObject({ type: 'connected' })
    expect(webSocket.protocol).toBe('minimart.v1')
    webSocket.close()
  })

  const badTokens: Record<string, () => string | undefined | Promise<string>> = {
    'no token': () => undefined,
    'an empty token': () => '',
    garbage: () => 'not.a.token',
    'a null byte': () => '\u0000',
    'a token of another secret': () => forged({}, 'another secret that is long enough to sign with'),
    'an expired token': () => forged({ exp: now() - 1 }),
    'a refresh token': () => ann.refreshToken,
    'a token of another kind': () => forged({ typ: 'invitation' }),
    'a token for others': () => forged({ aud: 'others' }),
    'an unsigned token': () => forge(claimsOf(ann.accessToken), '', { alg: 'none' }),
    'a revoked token': async () => {
      const ben = await makeUser(server, tenant)
      expect((await ben.api.post('/auth/logout')).status).toBe(204)
      return ben.accessToken
    },
  }
  for (const [name, make] of Object.entries(badTokens))
    test(`${name} opens and closes immediately with 4001`, async () => {
      const token = await make()
      const tried = [await openSocket(server, token)]
      if (token?.match(/^[\w.-]+$/)) tried.push(await openSocket(server, token, { via: 'subprotocol' }))
      for (const socket of tried) {
        expect(await closeCode(socket)).toBe(4001)
        expect(socket.messages).toEqual([])
      }
      expect(tried[1]?.protocol ?? 'minimart.v1').toBe('minimart.v1')
    })

  test('messages sent before the 4001 arrives are not answered', async () => {
    const socket = await openSocket(server, 'bad')
    socket.send('ping')
    expect(await closeCode(socket)).toBe(4001)
    expect(socket.messages).toEqual([])
  })

  test('a super admin gets a socket but sees no list', async () => {
    const root = await superAdmin(server)
    const list = await ann.api.post('/shopping-lists', { name: 'Ours' })
    const socket = await openSocket(server, root.accessToken)
    socket.send('subscribe', { list_id: list.body.id })
    expect((await socket.next('error')).payload.code).toBe('not_found')
  })

  test('a page of another origin is refused with 403; the same host and no origin are not', async () => {
    const { host } = new URL(server.url)
    for (const origin of [`http://${host}`, server.url]) {
      const socket = await openSocket(server, ann.accessToken, { headers: { origin } })
      await socket.next('connected')
    }
    for (const origin of [
      'https://evil.example',
      `http://${host}.evil.example`,
      'null',
      '',
      'http://localhost:1',
    ]) {
      const answer = await upgrade(server, `?token=${ann.accessToken}`, { origin })
      expect(`${origin} ${answer.status}`).toBe(`${origin} 403`)
      expect(answer.headers.get('content-type')).toStartWith('application/problem+json')
      expect(await answer.json()).toMatchObject({ status: 403, code: 'forbidden' })
    }
  })

  test('a page of an origin in CORS_ORIGINS may open one', async () => {
    const own = await startServer(backend, { CORS_ORIGINS: 'https://shop.example,https://app.example:8443' })
    try {
      const bob = await superAdmin(own)
      for (const origin of ['https://shop.example', 'https://app.example:8443']) {
        const socket = await openSocket(own, bob.accessToken, { headers: { origin } })
        await socket.next('connected')
      }
      for (const origin of ['http://shop.example', 'https://shop.example:444', 'https://app.example']) {
        const answer = await upgrade(own, `?token=${bob.accessToken}`, { origin })
        expect(`${origin} ${answer.status}`).toBe(`${origin} 403`)
      }
    } finally {
      await own.stop()
    }
  })

  test('a request without an upgrade gets 426 and names WebSocket', async () => {
    const answer = await fetch(`${server.url}/ws?token=${ann.accessToken}`)
    expect(answer.status).toBe(426)
    expect(answer.headers.get('upgrade')).toBe('websocket')
    expect(await answer.text()).not.toContain(ann.accessToken)
  })

  test('no log line holds a token', async () => {
    const socket = await openSocket(server, ann.accessToken)
    await openSocket(server, ann.accessToken, { via: 'subprotocol' })
    socket.send('authenticate', { token: `${ann.accessToken}x` })
    await socket.next('error')
    socket.raw(`{"type":"authenticate","payload":{"token":"${ann.accessToken}"`)
    expect(JSON.stringify(await socket.next('error'))).not.toContain(ann.accessToken)
    await upgrade(server, `?token=${ann.accessToken}`, { origin: 'https://evil.example' })
    expect(server.log.lines.some(({ fields }) => fields?.['route'] === '/ws')).toBe(true)
    const signature = ann.accessToken.split('.')[2] ?? ''
    expect(JSON.stringify(server.log.lines)).not.toContain(signature)
  })
})

const upgrade = ({ url }: TestServer, query: string, headers: Record<string, string>): Promise<Response> =>
  fetch(`${url}/ws${query}`, {
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      ...headers,
    },
  })
