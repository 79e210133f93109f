/**
 * Response times do not reveal whether an account exists. Times for unknown addresses and real accounts are compared by
 * rank (Mann–Whitney U), whatever their unit and skew: the share of pairs in which one is above the other. A half means
 * alike; 0 or 1 means distinguishable. The kinds are shuffled in each round, so that load slows all of them alike.
 */
import { beforeAll, describe, expect, test } from 'bun:test'
import { allMailed, later, makeUnverified } from '../../support/auth.ts'
import { freshEmail, makeTenant, makeUser, superAdmin } from '../../support/people.ts'
import { postgresAvailable } from '../../support/postgres.ts'
import { redisAvailable } from '../../support/redis.ts'
import { hashingServer, type TestServer } from '../../support/server.ts'

/** The code path is the same on both backends; the faster one hides less. */
const backend = postgresAvailable && redisAvailable ? 'full' : 'embedded'

const kinds = ['unknown', 'known', 'unverified', 'deactivated', 'of a deactivated tenant'] as const
type Kind = (typeof kinds)[number]

describe('the response time', () => {
  let server: TestServer
  let addressOf: Record<Kind, () => string>

  beforeAll(async () => {
    server = await hashingServer(backend)
    const [tenant, closed, root] = await Promise.all([
      makeTenant(server),
      makeTenant(server),
      superAdmin(server),
    ])
    const [known, gone] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    const unverified = await makeUnverified(server, tenant)
    await tenant.admin.api.delete(`/users/${gone.id}`)
    await root.api.delete(`/tenants/${closed.id}`)
    addressOf = {
      unknown: () => freshEmail('nobody'),
      known: () => known.email,
      unverified: () => unverified.email,
      deactivated: () => gone.email,
      'of a deactivated tenant': () => closed.admin.email,
    }
  })

  /** Milliseconds by kind, one measurement per round. */
  async function times(
    path: string,
    fields: Record<string, string>,
    status: number,
    rounds: number,
  ): Promise<Record<Kind, number[]>> {
    const taken: Record<Kind, number[]> = {
      unknown: [],
      known: [],
      unverified: [],
      deactivated: [],
      'of a deactivated tenant': [],
    }
    // The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const kind of shuffled(kinds)) {
        const body = JSON.stringify({ email: addressOf[kind](), ...fields })
        // So late that what was mailed in the last round has arrived, and more is mailed in this one.
        await later(121 * round, async () => {
          const begun = performance.now()
          const answer = await fetch(`${server.url}/api/v1${path}`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body,
          })
          await answer.arrayBuffer()
          if (round > 0) taken[kind].push(performance.now() - begun)
          expect(answer.status).toBe(status)
          await allDone(server)
        })
      }
    }
    return taken
  }

  test('of a login with a wrong password is the same for every address', async () => {
    expect(distinguishable(await times('/auth/login', { password: 'not the password' }, 401, 24))).toEqual([])
  })

  test.each(['/auth/forgot-password', '/auth/resend-otp'])(
    'of %s is the same for every address',
    async (path) => {
      expect(distinguishable(await times(path, {}, 202, 40))).toEqual([])
    },
  )
})

/**
 * The kinds that can be told from an unknown address. With 24 rounds of equal times, a share this far from a half comes
 * up by chance once in hundreds of thousands of runs.
 */
function distinguishable({ unknown, ...others }: Record<Kind, number[]>): string[] {
  return Object.entries(others)
    .map(([kind, known]) => ({ kind, share: shareAbove(unknown, known) }))
    .filter(({ share }) => Math.abs(share - 0.5) > 0.4)
    .map(({ kind, share }) => `${kind}: unknown takes longer in ${share} of pairs`)
}

/** Keeps the sending of mails out of the next measurement. */
async function allDone(server: TestServer): Promise<void> {
  await allMailed(server)
  await (await fetch(`${server.url}/healthz`)).arrayBuffer()
}

function shareAbove(these: number[], those: number[]): number {
  const above = these.flatMap((one) => those.map((other) => (one > other ? 1 : one === other ? 0.5 : 0)))
  return above.reduce<number>((sum, each) => sum + each, 0) / above.length
}

function shuffled<T>(things: readonly T[]): T[] {
  return things
    .map((thing) => [Math.random(), thing] as const)
    .toSorted(([one], [other]) => one - other)
    .map(([, thing]) => thing)
}
