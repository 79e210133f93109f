/** TRUST_PROXY: which client address is believed, observed by which attempts share a limit. */
import { afterAll, describe, expect, test } from 'bun:test'
import { freshEmail } from '../support/people.ts'
import { postgresAvailable } from '../support/postgres.ts'
import { bytesOf, exchange } from '../support/raw-http.ts'
import { redisAvailable } from '../support/redis.ts'
import { startServer, type TestServer } from '../support/server.ts'

type Header = [name: string, value: string]

/** The address does not depend on the backend, so the faster one will do. */
const backend = postgresAvailable && redisAvailable ? 'full' : 'embedded'

/** Cases with the same setting share a server, so each uses its own clients. */
const servers = new Map<string | null, Promise<TestServer>>()

function serverFor(trustProxy: string | null): Promise<TestServer> {
  const settings = {
    RATE_LIMIT_AUTH: '3/day',
    ...(trustProxy === null ? {} : { TRUST_PROXY: trustProxy }),
  }
  const server = servers.get(trustProxy) ?? startServer(backend, settings)
  servers.set(trustProxy, server)
  return server
}

afterAll(async () => {
  for (const server of servers.values()) await (await server).stop()
})

/** How many attempts a limit of three lets through, made in turn with these headers, each on another account. */
async function letThrough(trustProxy: string | null, attempts: Header[][]): Promise<number> {
  const { url } = await serverFor(trustProxy)
  const statuses: (number | undefined)[] = []
  for (const headers of attempts) {
    // On a raw connection, as a header may be repeated.
    const login = bytesOf({
      method: 'POST',
      target: '/api/v1/auth/login',
      headers: [['Content-Type', 'application/json'], ...headers],
      body: Buffer.from(JSON.stringify({ email: freshEmail(), password: 'not the password' })),
    })
    statuses.push((await exchange(url, login, 5000))?.status)
  }
  return statuses.filter((status) => status === 401).length
}

const five = [1, 2, 3, 4, 5]
const each = (write: (number: number) => string): Header[][] =>
  five.map((number) => [['X-Forwarded-For', write(number)]])

describe('the address of a client behind TRUST_PROXY', () => {
  test.each<[string, string | null, Header[][], number]>([
    ['unset: what a client writes counts for nothing', null, each((n) => `198.51.100.${n}`), 3],
    ['false: likewise', 'false', each((n) => `198.51.100.${n}`), 3],
    ['1: the last entry is the client', '1', each((n) => `198.51.100.${n}`), 5],
    ['1: what the client put before it is ignored', '1', each((n) => `198.51.100.${n}, 203.0.113.7`), 3],
    ['1: what is no address counts for nothing', '1', each((n) => `junk-${n}`), 3],
    ['2: the last but one is the client', '2', each((n) => `198.51.100.${n}, 203.0.113.7`), 5],
    ['2: and nothing before that', '2', each((n) => `198.51.100.${n}, 192.0.2.1, 203.0.113.7`), 3],
    ['a network of the peer: the last entry is the client', '127.0.0.0/8', each((n) => `198.51.100.${n}`), 5],
    [
      'networks of all proxies: the client is the last address outside of them',
      '127.0.0.1, 203.0.113.0/24',
      each((n) => `198.51.100.${n}, 203.0.113.${n}`),
      5,
    ],
    [
      'networks of all proxies: what precedes the client is ignored',
      '127.0.0.1,203.0.113.0/24',
      each((n) => `192.0.2.${n}, 198.51.101.1, 203.0.113.7`),
      3,
    ],
    ['a network the peer is not in: nothing is believed', '10.0.0.0/8', each((n) => `198.51.100.${n}`), 3],
    [
      'IPv4-mapped IPv6 is the same client',
      '1',
      [...each(() => '192.0.2.1').slice(1), ...each(() => '::ffff:192.0.2.1')],
      3,
    ],
    ['IPv6 addresses of one /64 are one client', '1', each((n) => `2001:db8:1:2:${n}::${n}`), 3],
    ['of different ones, different clients', '1', each((n) => `2001:db8:2:${n}::1`), 5],
    [
      "1: of several headers the last one is the proxy's",
      '1',
      five.map((n): Header[] => [
        ['X-Forwarded-For', `198.51.100.${n}`],
        ['X-Forwarded-For', '192.0.2.2'],
      ]),
      3,
    ],
    [
      '2: several headers count as one list',
      '2',
      five.map((n): Header[] => [
        ['X-Forwarded-For', '192.0.2.1'],
        ['X-Forwarded-For', `198.51.101.${n}`],
        ['x-forwarded-for', '203.0.113.7:4711'],
      ]),
      5,
    ],
    [
      'other headers with an address are ignored',
      '1',
      five.map((n): Header[] => [
        ['X-Forwarded-For', '192.0.2.3'],
        ['Forwarded', `for=198.51.100.${n}`],
        ['X-Real-IP', `198.51.100.${n}`],
        ['X-Client-IP', `198.51.100.${n}`],
        ['CF-Connecting-IP', `198.51.100.${n}`],
        ['True-Client-IP', `198.51.100.${n}`],
      ]),
      3,
    ],
  ])('%s', async (_what, trustProxy, headers, expected) => {
    expect(await letThrough(trustProxy, headers)).toBe(expected)
  })
})
