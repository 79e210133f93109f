/** Hostile upgrade requests are refused, cheap, and never leave a half-open socket. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { originCheck } from '../../src/http/origin.ts'
import { makeTenant, type Person } from '../support/people.ts'
import {
  closeRawSockets,
  type RawOptions,
  type RawSocket,
  startRaw,
  upgradeRequest,
} from '../support/raw-socket.ts'
import { sharedServer, type TestServer } from '../support/server.ts'
import { settledCounts } from '../support/socket.ts'
import { until } from '../support/until.ts'

/** Bun's longest timeout for a request's head, with headroom for a slow machine. */
const headMs = 30_000

// The upgrade is read before any backend is used.
describe('a hostile upgrade', () => {
  let server: TestServer
  let ann: Person
  let slow: RawSocket[]
  let path: string

  beforeAll(async () => {
    server = await sharedServer('embedded')
    ann = (await makeTenant(server)).admin
    path = `/ws?token=${ann.accessToken}`
    // Started first and checked last, because it takes a while.
    const host = new URL(server.url).host
    const request = upgradeRequest(host, { path }).slice(0, -2)
    slow = [startRaw(server, { request: '' }), ...[1, 2].map(() => startRaw(server, { request }))]
  })
  afterAll(closeRawSockets)

  const ask = async (options: RawOptions): Promise<RawSocket> => {
    const socket = startRaw(server, { path, ...options })
    await until(() => socket.head() !== '' || socket.ended(), 'an answer', 5000)
    return socket
  }

  test('from another origin is refused, however the Origin is disguised', async () => {
    const { host, port } = new URL(server.url)
    const origins = [
      'null',
      '',
      ' ',
      '*',
      `http://${host}.`,
      `http://${host}.evil.example`,
      `http://evil.example/${host}`,
      `http://evil.example?${host}`,
      `http://evil.example#${host}`,
      `http://${host}@evil.example`,
      `http://evil.example\\@${host}:80`,
      `http://x127.0.0.1:${port}`,
      `http://sub.127.0.0.1:${port}`,
      `http://127.0.0.1:${port}0`,
      `http://127.0.0.1:${Number(port) + 1}`,
      'http://127.0.0.1',
      `http://localhost:${port}`,
      `http://[::1]:${port}`,
      host,
      `//${host}`,
      `http://${host}, http://evil.example`,
      `http://evil.example, http://${host}`,
      `http://${host} http://evil.example`,
      'file://',
      'data:text/html,x',
    ]
    for (const origin of origins) {
      const answer = await ask({ headers: [['Origin', origin]] })
      expect(`${origin} ${answer.status()}`).toBe(`${origin} 403`)
    }
    const own: [string, string] = ['Origin', `http://${host}`]
    const evil: [string, string] = ['Origin', 'http://evil.example']
    for (const headers of [
      [own, evil],
      [evil, own],
      [evil, evil],
    ])
      expect((await ask({ headers })).status()).not.toBe(101)
    expect((await ask({ headers: [own] })).status()).toBe(101)
  })

  test('from an Origin that resembles one of CORS_ORIGINS or PUBLIC_URL is refused', () => {
    const isAllowed = originCheck(['https://shop.example'], () => 'https://lists.example/under/here')
    for (const origin of [
      'http://shop.example',
      'https://shop.example:8443',
      'https://shop.example.',
      'https://shop.example.evil.example',
      'https://evil-shop.example',
      'https://sub.shop.example',
      'https://shop.example@evil.example',
      'https://shop.exampl\u0435',
      'https://shop.example, https://evil.example',
      'http://lists.example',
      'https://lists.example:80',
      'wss://shop.example.evil.example',
    ])
      expect(`${origin} ${isAllowed(origin, 'lists.example:8000')}`).toBe(`${origin} false`)
    for (const origin of ['https://shop.example', 'https://SHOP.example', 'https://shop.example:443'])
      expect(isAllowed(origin, null)).toBe(true)
    expect(isAllowed('https://lists.example', null)).toBe(true)
  })

  test('that is malformed opens nothing', async () => {
    const { host } = new URL(server.url)
    const good = upgradeRequest(host, { path })
    const before = await settledCounts(server)
    const broken: Record<string, string> = {
      'of another version': good.replace('Version: 13', 'Version: 8'),
      'without a version': good.replace('Sec-WebSocket-Version: 13\r\n', ''),
      'without a key': good.replace(/Sec-WebSocket-Key: .*\r\n/, ''),
      'with a short key': good.replace(/(Sec-WebSocket-Key: ).*/, '$1short'),
      'without the word': good.replace('Upgrade: websocket', 'Upgrade: h2c'),
      'by POST': good.replace('GET', 'POST').replace('\r\n\r\n', '\r\nContent-Length: 0\r\n\r\n'),
      'to another path': good.replace('/ws?', '/ws/x?'),
      'with a head without end': good.replace('\r\n\r\n', `\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`),
      'with a token without end': good.replace(ann.accessToken, 'x'.repeat(100_000)),
    }
    const answers: Record<string, number> = {}
    for (const [name, request] of Object.entries(broken)) answers[name] = (await ask({ request })).status()
    expect(answers).toEqual({
      'of another version': 426,
      'without a version': 426,
      'without a key': 426,
      'with a short key': 426,
      'without the word': 426,
      'by POST': 405,
      'to another path': 404,
      'with a head without end': 431,
      'with a token without end': 431,
    })
    expect(await settledCounts(server)).toEqual(before)
  })

  test('is never echoed in the response, least of all its token', async () => {
    const offers = [
      `bearer.${ann.accessToken}`,
      `evil, bearer.${ann.accessToken}`,
      'minimart.v1\r\nX-Evil: 1',
    ]
    for (const offer of offers)
      for (const name of ['Sec-WebSocket-Protocol', 'Sec-WebSocket-Extensions', 'X-Request-Id']) {
        const { head } = await ask({ path: '/ws', headers: [[name, offer]] })
        expect(head()).toMatch(/^HTTP\/1.1 101/)
        expect(head().toLowerCase()).not.toMatch(/evil|bearer/)
      }
  })

  test('that is never finished times out', async () => {
    await until(() => slow.every((socket) => socket.ended()), 'their end', headMs)
    expect(slow.map((socket) => socket.status())).not.toContain(101)
  })
})
