/**
 * Two layers isolate tenants: row-level security and each statement's own predicate. With either one removed nothing
 * leaks; with both removed the same attack does find leaks, which proves that it can.
 */
import { afterAll, expect, test } from 'bun:test'
import { isLong, seedOf } from '../../support/rounds.ts'
import { describeBackends, oncePerBackend, startServer, type TestServer } from '../../support/server.ts'
import { closeSockets } from '../../support/socket.ts'
import { type Attempt, leaked, runAll } from './attack.ts'
import { fieldAttempts } from './fields.ts'
import { messageAttempts } from './messages.ts'
import { type Mirror, makeMirror, secretsOf } from './mirror.ts'
import { isOfItsKind, pathAttempts } from './paths.ts'
import { type Tap, tapDatabase, unfencedIn, withoutPredicates } from './statements.ts'
import { subscribersOf } from './subscribers.ts'
import { checksum, findTenantTables, keepRows, setRowSecurity } from './tables.ts'
import { twinAttempts } from './twins.ts'

interface Setup {
  mirror: Mirror
  tap: Tap
  /** Those that reach the database in a tenant's scope. */
  attempts: Attempt[]
  /** Each statement with the simplest attempts that send it. */
  senders: Map<string, Attempt[]>
}

const servers: TestServer[] = []

const setUp = oncePerBackend(async (backend): Promise<Setup> => {
  // A server of its own, as an attack without isolation leaves damage behind.
  const server = await startServer(backend)
  servers.push(server)
  const mirror = await makeMirror(server)
  const tap = tapDatabase(server.running.deps.db)
  const twins = new Set(twinAttempts(mirror))
  const tried: { attempt: Attempt; sent: string[] }[] = []
  for (const attempt of [
    ...twins,
    ...(await messageAttempts(mirror, ['owner'])).attempts,
    ...pathAttempts(mirror, ['admin', 'owner'], isOfItsKind),
    ...(await fieldAttempts(mirror, ['owner'])),
  ]) {
    tap.clear()
    await attempt.foreign()
    await attempt.control()
    tried.push({ attempt, sent: [...tap.seen] })
  }
  tried.sort((one, other) => one.sent.length - other.sent.length)
  const sendersOf = (text: string): Attempt[] => {
    const all = tried.filter(({ sent }) => sent.includes(text)).map(({ attempt }) => attempt)
    return [
      ...all.filter((attempt) => twins.has(attempt)).slice(0, 2),
      ...all.filter((attempt) => !twins.has(attempt)).slice(0, 2),
    ]
  }
  const texts = new Set(tried.flatMap(({ sent }) => sent))
  return {
    mirror,
    tap,
    attempts: tried.filter(({ sent }) => sent.length > 0).map(({ attempt }) => attempt),
    senders: new Map([...texts].map((text) => [text, sendersOf(text)])),
  }
})

/** Runs the attack and returns what it leaked or changed. @param before the other tenant's checksum */
async function attack(
  { mirror: { server, theirs } }: Setup,
  attempts: readonly Attempt[],
  before: Record<string, string>,
): Promise<string[]> {
  const faults = await runAll(attempts, secretsOf(theirs))
  const after = await checksum(server, theirs)
  const changed = Object.keys(before).filter((name) => before[name] !== after[name])
  return [...faults, ...changed.map((name) => `${leaked} and changes it, in ${name}`)]
}

const weakened = (senders: Setup['senders']) =>
  [...senders].filter(([text]) => withoutPredicates(text) !== text)

/** All statements are attacked in `bun run test:long`, and one in so many in the suite: which ones, the seed decides. */
const oneIn = isLong ? 1 : 4
const seed = seedOf('MUTATION')
const repeat = `MINIMART_MUTATION_SEED=${seed}`
const chosen = (senders: Setup['senders']) =>
  weakened(senders).filter((_, index) => index % oneIn === seed % oneIn)

/**
 * Statements that leak nothing even without predicates and row-level security: the caller cannot choose what they look
 * up (their own account, an id in a signed invitation), they only lock or count, or their results are keyed by tenant.
 */
const harmless = [
  /^\s*select from (shopping_lists|tenants) where [^()]* for no key update$/,
  /^with made as \(\s*insert into shopping_lists .* where not \(/s,
  /^select \(\s*exists \(select from spent_invitations s [^()]*\)\s*or exists \(select from revocations r [^()]*\)\) as redeemed$/,
  /as "passwordHash".* where u.tenant_id = \$1 and u.id = \$2$/s,
  /from jsonb_to_recordset\(\$1::jsonb\) as w \("tenantId" uuid, "listId" uuid\)/,
]

describeBackends('isolation by one layer', (backend) => {
  // Both databases are sent the same statements.
  if (backend === 'embedded' && !isLong) return

  afterAll(closeSockets)

  test("every statement in a tenant's scope restricts every table to the tenant", async () => {
    const { mirror, senders } = await setUp(backend)
    const tables = (await findTenantTables(mirror.server)).map(({ name }) => name)
    expect([...senders.keys()].flatMap((text) => unfencedIn(text, tables))).toEqual([])
    expect(weakened(senders).length).toBeGreaterThan(30)
  })

  test('without row-level security nothing leaks', async () => {
    const setup = await setUp(backend)
    const { server, theirs } = setup.mirror
    const subscribers = await subscribersOf(setup.mirror)
    const before = await checksum(server, theirs)
    await setRowSecurity(server, false)
    try {
      expect(await attack(setup, setup.attempts, before)).toEqual([])
      expect(await subscribers.faults()).toEqual([])
    } finally {
      await setRowSecurity(server, true)
      await subscribers.close()
    }
  })

  test('without the predicates of any one statement, and without those of all, nothing leaks', async () => {
    const setup = await setUp(backend)
    const { tap, senders, attempts, mirror } = setup
    const subscribers = await subscribersOf(mirror)
    const before = await checksum(mirror.server, mirror.theirs)
    const leaks: string[] = []
    for (const [text, its] of chosen(senders)) {
      tap.weaken((sent) => sent === text)
      const faults = await attack(setup, its, before)
      leaks.push(...faults.map((fault) => `${fault}, without the predicates of ${text.trim().slice(0, 200)}`))
    }
    tap.weaken(() => true)
    leaks.push(...(await attack(setup, attempts, before)))
    tap.weaken(() => false)
    expect(leaks, repeat).toEqual([])
    expect(await subscribers.faults()).toEqual([])
    await subscribers.close()
  })

  test('without both, the same attack finds a leak in each statement', async () => {
    const setup = await setUp(backend)
    const { mirror, tap, senders } = setup
    const putBack = await keepRows(mirror.server)
    const before = await checksum(mirror.server, mirror.theirs)
    await setRowSecurity(mirror.server, false)
    const unseen: string[] = []
    let leaks = 0
    for (const [text, its] of chosen(senders)) {
      tap.weaken((sent) => sent === text)
      const faults = await attack(setup, its, before)
      tap.weaken(() => false)
      if (faults.length > 0) await putBack()
      else if (!harmless.some((pattern) => pattern.test(text))) unseen.push(text)
      if (faults.some((fault) => fault.includes(leaked))) leaks++
    }
    await setRowSecurity(mirror.server, true)
    expect(unseen, repeat).toEqual([])
    // A share may have less than its part of them.
    expect(leaks).toBeGreaterThan(isLong ? 20 : 3)
  })

  afterAll(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop()))
  })
})
