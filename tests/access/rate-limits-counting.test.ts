/** Which calls share a counter, and what the answer's headers report. */
import { expect, test } from 'bun:test'
import { createRateLimits, type RateLimits } from '../../src/access/rate-limits.ts'
import { AppError } from '../../src/errors.ts'
import { createLocalRateLimiter, createRateLimiter } from '../../src/store/rate-limiter.ts'
import { recordingLogger } from '../support/log.ts'

const tenPerMinute = { count: 10, windowSeconds: 60 }
const off = {
  rateLimitAuth: null,
  rateLimitInvite: null,
  rateLimitApi: null,
  rateLimitOpen: null,
  rateLimitMail: null,
  rateLimitTenantMail: null,
}

/** @param known accounts and the addresses that they know, as `ann 192.0.2.1` */
function limitsOf(settings: Partial<Parameters<typeof createRateLimits>[1]>, known: string[] = []) {
  const clock = { ms: 0 }
  const now = () => clock.ms
  const asked: string[] = []
  const deps = {
    limiter: createRateLimiter({ shared: null, log: recordingLogger(), now }),
    openLimiter: createLocalRateLimiter({ now }),
    knownNetworks: {
      async includes(email: string, address: string) {
        asked.push(email)
        return known.includes(`${email} ${address}`)
      },
    },
  }
  return { clock, asked, limits: createRateLimits(deps, { ...off, ...settings }) }
}

type Counting = (limits: RateLimits, caller: Parameters<RateLimits['ofAuth']>[0]) => Promise<void>

/** Headers of the answer to a request counted this way; `refused` is its Retry-After. */
async function answer(limits: RateLimits, counting: Counting, address = '192.0.2.1') {
  const headers: Record<string, string | number> = {}
  const refusal = await counting(limits, { address, answerHeaders: headers }).then(
    () => null,
    (error: unknown) => error,
  )
  if (refusal === null) return { headers, refused: null }
  if (!(refusal instanceof AppError) || refusal.code !== 'rate_limited') throw refusal
  return { headers, refused: refusal.extras.retryAfterSeconds }
}

const signIn =
  (email: string): Counting =>
  (limits, caller) =>
    limits.ofAuth(caller, email)

test('each limit is reported with its quota, window, remaining calls and time until the next one', async () => {
  const { clock, limits } = limitsOf({ rateLimitAuth: tenPerMinute })
  const policy = '"auth-address";q=10;w=60, "auth-account";q=10;w=60'
  await answer(limits, signIn('ann'))
  expect(await answer(limits, signIn('ann'))).toMatchObject({
    refused: null,
    headers: { 'ratelimit-policy': policy, ratelimit: '"auth-address";r=8;t=6, "auth-account";r=8;t=6' },
  })
  clock.ms += 2500
  expect((await answer(limits, signIn('ben'))).headers).toEqual({
    'ratelimit-policy': policy,
    ratelimit: '"auth-address";r=7;t=4, "auth-account";r=9;t=6',
    'ratelimit-limit': 10,
    'ratelimit-remaining': 7,
    'ratelimit-reset': 4,
  })
})

test('the legacy fields report the limit with the fewest calls left, on a tie the one that takes longer', async () => {
  const { limits } = limitsOf({
    rateLimitApi: { count: 5, windowSeconds: 60 },
    rateLimitInvite: { count: 3, windowSeconds: 3600 },
  })
  const inviting: Counting = async (all, caller) => {
    await all.ofUser(caller, 'ann')
    await all.ofInvitations(caller, 'ann')
  }
  const older = ({ headers }: Awaited<ReturnType<typeof answer>>) =>
    ['limit', 'remaining', 'reset'].map((name) => headers[`ratelimit-${name}`])
  expect(older(await answer(limits, inviting))).toEqual([3, 2, 1200])
  for (let count = 0; count < 2; count++) await answer(limits, (all, caller) => all.ofUser(caller, 'ann'))
  expect(older(await answer(limits, inviting))).toEqual([3, 1, 1200])
  expect(older(await answer(limits, inviting))).toEqual([3, 0, 1200])
})

test('after Retry-After one call gets through, even when two limits are used up', async () => {
  const { clock, limits } = limitsOf({
    rateLimitApi: { count: 2, windowSeconds: 3600 },
    rateLimitInvite: { count: 2, windowSeconds: 60 },
  })
  const inviting: Counting = async (all, caller) => {
    await all.ofUser(caller, 'ann')
    await all.ofInvitations(caller, 'ann')
  }
  await answer(limits, (all, caller) => all.ofInvitations(caller, 'ann'))
  await answer(limits, inviting)
  const { refused, headers } = await answer(limits, inviting)
  expect([refused, headers['ratelimit-reset']]).toEqual([1800, 1800])
  clock.ms += 1800 * 1000
  expect((await answer(limits, inviting)).refused).toBeNull()
})

test('a disabled limit is neither counted nor reported', async () => {
  const { limits } = limitsOf({ rateLimitApi: tenPerMinute })
  for (let count = 0; count < 50; count++)
    expect(await answer(limits, signIn('ann'))).toEqual({ refused: null, headers: {} })
})

/** How many sign-ins get through at two attempts a day, from these addresses in turn, each on another account. */
async function letThrough(addresses: string[]): Promise<number> {
  const { limits } = limitsOf({ rateLimitAuth: { count: 2, windowSeconds: 86_400 } })
  const answers = await Promise.all(
    addresses.map((address, index) => answer(limits, signIn(`account ${index}`), address)),
  )
  return answers.filter(({ refused }) => refused === null).length
}

test('IPv6 clients are counted by their /64, IPv4 clients by their address', async () => {
  const inOne64 = ['2001:db8:1:2::1', '2001:db8:1:2::2', '2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:db8:1:2::']
  expect(await letThrough(inOne64)).toBe(2)
  expect(await letThrough(['2001:db8:1:2::1', '2001:db8:1:3::1', '2001:db8:1:4::1'])).toBe(3)
  expect(await letThrough(['fe80::1%eth0', 'fe80::2%eth0', 'fe80::3%eth1'])).toBe(2)
  expect(await letThrough(['192.0.2.1', '192.0.2.2', '192.0.2.3'])).toBe(3)
  expect(await letThrough(['unknown', 'unknown', 'unknown'])).toBe(2)
})

const hex = (number: number): string => number.toString(16)
const sixty4s = (count: number, write: (number: number) => string): string[] =>
  Array.from({ length: count }, (_, number) => `2001:db8:1:${write(number)}::1`)

test('an IPv6 /56 gets four times the limit of a client, and a /48 sixteen times', async () => {
  expect(await letThrough(sixty4s(256, hex))).toBe(8)
  expect(await letThrough(sixty4s(256, (number) => hex(number << 8)))).toBe(32)
  expect(await letThrough(Array.from({ length: 256 }, (_, number) => `2001:db8:${hex(number)}::1`))).toBe(256)
})

test('what a /64 is refused does not use up the share of its neighbours', async () => {
  const { limits } = limitsOf({ rateLimitAuth: { count: 2, windowSeconds: 86_400 } })
  const tries = async (address: string, times: number): Promise<number> => {
    let allowed = 0
    for (let count = 0; count < times; count++)
      if ((await answer(limits, signIn(`${address} ${count}`), address)).refused === null) allowed++
    return allowed
  }
  expect(await tries('2001:db8:1:2::1', 100)).toBe(2)
  expect(await tries('2001:db8:1:3::1', 100)).toBe(2)
  const policies = await answer(limits, signIn('ann'), '2001:db8:1:4::1')
  expect(policies.headers['ratelimit']).toBe(
    '"auth-address";r=1;t=43200, "auth-address-56";r=3;t=10800, "auth-address-48";r=27;t=2700, "auth-account";r=1;t=43200',
  )
})

test('a limit that no multiple can be counted of stays within what is counted without rounding', async () => {
  const { limits } = limitsOf({ rateLimitAuth: { count: 9_999_999, windowSeconds: 86_400 } })
  const { headers } = await answer(limits, signIn('ann'), '2001:db8::1')
  expect(headers['ratelimit-policy']).toContain('"auth-address-48";q=10000000;w=86400')
})

test('an account that strangers use up has a limit of its own for a network that it knows', async () => {
  const { limits, asked } = limitsOf({ rateLimitAuth: tenPerMinute }, ['ann 192.0.2.1', 'ann 192.0.2.2'])
  for (let count = 0; count < 10; count++) {
    const { refused } = await answer(limits, signIn('ann'), `198.51.100.${count}`)
    expect([count, refused]).toEqual([count, null])
  }
  // Until then nobody needs to know.
  expect(asked).toEqual([])
  expect((await answer(limits, signIn('ann'), '198.51.100.99')).refused).toBe(6)
  const own = await answer(limits, signIn('ann'), '192.0.2.1')
  expect(own).toMatchObject({
    refused: null,
    headers: { ratelimit: '"auth-address";r=9;t=6, "auth-account-known";r=9;t=6', 'ratelimit-remaining': 9 },
  })
  // Known networks together have one limit, which is a limit too.
  for (let count = 0; count < 9; count++)
    expect((await answer(limits, signIn('ann'), `192.0.2.${1 + (count % 2)}`)).refused).toBeNull()
  expect((await answer(limits, signIn('ann'), '192.0.2.2')).refused).toBe(6)
  expect(limits.refusals().get('auth-account')).toBe(1)
  expect(limits.refusals().get('auth-account-known')).toBe(1)
})

test('a session has a limit of its own, whatever is tried elsewhere', async () => {
  const { limits } = limitsOf({ rateLimitAuth: tenPerMinute })
  const asking: Counting = (all, caller) => all.ofSession(caller, 'a session')
  for (let count = 0; count < 11; count++) await answer(limits, signIn('ann'))
  for (let count = 0; count < 10; count++) expect((await answer(limits, asking)).refused).toBeNull()
  expect((await answer(limits, asking)).refused).toBe(6)
})

test('open calls are counted by networks, apart from all else', async () => {
  const { limits, clock } = limitsOf({ rateLimitOpen: tenPerMinute, rateLimitAuth: tenPerMinute })
  const open: Counting = async (all, caller) => all.ofOpen(caller)
  for (let count = 0; count < 10; count++) expect((await answer(limits, open)).refused).toBeNull()
  expect(await answer(limits, open)).toMatchObject({ refused: 6, headers: { ratelimit: '"open";r=0;t=6' } })
  expect((await answer(limits, open, '192.0.2.2')).refused).toBeNull()
  expect((await answer(limits, signIn('ann'))).refused).toBeNull()
  clock.ms += 6000
  expect((await answer(limits, open)).refused).toBeNull()
  const answers: unknown[] = []
  for (const address of sixty4s(256, hex)) answers.push((await answer(limits, open, address)).refused)
  expect(answers.filter((refused) => refused === null)).toHaveLength(40)
})

test('mails to an address are limited by the hour and by the day; a refused one is counted by neither', async () => {
  const { clock, limits } = limitsOf({ rateLimitMail: { count: 7, windowSeconds: 86_400 } })
  const mayMail = async (times: number, address: string | null = 'ann'): Promise<boolean[]> => {
    const answers: boolean[] = []
    for (let count = 0; count < times; count++) answers.push(await limits.mayMail(address))
    return answers
  }
  expect(await mayMail(6, null)).toContain(false)
  expect(await mayMail(8)).toEqual([true, true, true, true, true, false, false, false])
  expect(await mayMail(1, 'ben')).toEqual([true])
  // One more each twelve minutes, until the day's are used up; then one in a seventh of a day.
  clock.ms += 12 * 60_000
  expect(await mayMail(2)).toEqual([true, false])
  clock.ms += 3_600_000
  expect(await mayMail(3)).toEqual([true, false, false])
  clock.ms += 3 * 3_600_000
  expect(await mayMail(2)).toEqual([true, false])
  expect(limits.refusals().get('mails')).toBe(7)
})

test('a RATE_LIMIT_MAIL like the hour’s own limit is not counted twice', async () => {
  const { limits } = limitsOf({ rateLimitMail: { count: 5, windowSeconds: 3600 } })
  for (let count = 1; count <= 6; count++) expect(await limits.mayMail('ann')).toBe(count <= 5)
})

test('without RATE_LIMIT_MAIL mails are not limited', async () => {
  const { limits } = limitsOf({})
  for (let count = 0; count < 50; count++) expect(await limits.mayMail('ann')).toBe(true)
})
