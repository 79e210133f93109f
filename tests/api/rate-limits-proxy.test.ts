/** TRUST_PROXY: whose word of the client's address counts, seen by whose attempts are counted together. */
import { describe, expect, test } from 'bun:test'
import { createClient } from '../support/client.ts'
import { freshEmail } from '../support/people.ts'
import { postgresAvailable } from '../support/postgres.ts'
import { redisAvailable } from '../support/redis.ts'
import { startServer } from '../support/server.ts'

/** The address is read before any backend is asked, so the one that starts faster will do. */
const backend = postgresAvailable && redisAvailable ? 'full' : 'embedded'

/** How many attempts with these headers, one after another on as many accounts, a limit of three lets through. */
async function letThrough(trustProxy: string | null, headers: string[]): Promise<number> {
  const server = await startServer(backend, {
    RATE_LIMIT_AUTH: '3/day',
    ...(trustProxy === null ? {} : { TRUST_PROXY: trustProxy }),
  })
  try {
    const statuses: number[] = []
    for (const header of headers) {
      const answer = await createClient(server.url).post(
        '/auth/login',
        { email: freshEmail(), password: 'not the password' },
        { headers: { 'x-forwarded-for': header } },
      )
      statuses.push(answer.status)
    }
    return statuses.filter((status) => status === 401).length
  } finally {
    await server.stop()
  }
}

const five = [1, 2, 3, 4, 5]
const each = (write: (number: number) => string): string[] => five.map(write)

describe('the address of a client behind TRUST_PROXY', () => {
  test.each<[string, string | null, string[], number]>([
    ['unset: what a client writes counts for nothing', null, each((n) => `198.51.100.${n}`), 3],
    ['false: likewise', 'false', each((n) => `198.51.100.${n}`), 3],
    ['1: the last entry is the client', '1', each((n) => `198.51.100.${n}`), 5],
    [
      '1: what a client put before it counts for nothing',
      '1',
      each((n) => `198.51.100.${n}, 203.0.113.7`),
      3,
    ],
    ['1: what is no address counts for nothing', '1', each((n) => `junk-${n}`), 3],
    ['2: the last but one is the client', '2', each((n) => `198.51.100.${n}, 203.0.113.7`), 5],
    ['2: and nothing before that', '2', each((n) => `198.51.100.${n}, 192.0.2.1, 203.0.113.7`), 3],
    ['a network of the peer: the last entry is the client', '127.0.0.0/8', each((n) => `198.51.100.${n}`), 5],
    [
      'networks of all proxies: the first that is none of theirs is the client',
      '127.0.0.1, 203.0.113.0/24',
      each((n) => `198.51.100.${n}, 203.0.113.${n}`),
      5,
    ],
    [
      'networks of all proxies: what stands before the client counts for nothing',
      '127.0.0.1,203.0.113.0/24',
      each((n) => `192.0.2.${n}, 198.51.100.1, 203.0.113.7`),
      3,
    ],
    ['a network the peer is not in: nothing is believed', '10.0.0.0/8', each((n) => `198.51.100.${n}`), 3],
    [
      'IPv4 in the clothes of IPv6 is the same client',
      '1',
      ['::ffff:192.0.2.1', ...each(() => '192.0.2.1')],
      3,
    ],
  ])('%s', async (_what, trustProxy, headers, expected) => {
    expect(await letThrough(trustProxy, headers)).toBe(expected)
  })
})
