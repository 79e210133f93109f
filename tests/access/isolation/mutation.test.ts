/**
 * Two fences keep tenants apart, the database's row-level security and each statement's own predicate. Either of them
 * is taken away here, and nothing leaks; with both away the same attack does see a leak, so it is able to.
 */
import { afterAll, expect, test } from 'bun:test'
import { isLong } from '../../support/rounds.ts'
import { describeBackends, oncePerBackend, startServer, type TestServer } from '../../support/server.ts'
import { closeSockets } from '../../support/socket.ts'
import { type Attempt, carryOut, leaked } from './attack.ts'
import { fieldAttempts } from './fields.ts'
import { followersOf } from './followers.ts'
import { messageAttempts } from './messages.ts'
import { type Mirror, makeMirror, secretsOf } from './mirror.ts'
import { isOfItsKind, pathAttempts } from './paths.ts'
import { type Tap, tapDatabase, unfencedIn, withoutPredicates } from './statements.ts'
import { twinAttempts } from './twins.ts'
import { checksum, findTenantTables, keepRows, setRowSecurity } from './witness.ts'

interface Siege {
  mirror: Mirror
  tap: Tap
  /** All that reach the database for a tenant. */
  attempts: Attempt[]
  /** The statements that have predicates, each with the simplest attempts that send it. */
  senders: Map<string, Attempt[]>
}

const servers: TestServer[] = []

const siegeOn = oncePerBackend(async (backend): Promise<Siege> => {
  // Of its own: what the attack leaves behind without any fence is nothing for others.
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
    tap.forget()
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

/** What the attack told or changed that it must not have. @param before the other tenant's checksum */
async function besiege(
  { mirror: { server, theirs } }: Siege,
  attempts: readonly Attempt[],
  before: Record<string, string>,
): Promise<string[]> {
  const faults = await carryOut(attempts, secretsOf(theirs))
  const after = await checksum(server, theirs)
  const changed = Object.keys(before).filter((name) => before[name] !== after[name])
  return [...faults, ...changed.map((name) => `${leaked} and changes it, in ${name}`)]
}

const weakened = (senders: Siege['senders']) =>
  [...senders].filter(([text]) => withoutPredicates(text) !== text)

/**
 * Statements that tell nothing more without predicates and without row-level security: what they look up is not the
 * caller's to choose (his own account, an id in a signed invitation), they only lock, or they answer by tenant.
 */
const harmless = [
  /^\s*select from (shopping_lists|tenants) where [^()]* for no key update$/,
  /^select exists \(select from revocations r where r.tenant_id = \$1 and r.subject = \$2\) as redeemed$/,
  /as "passwordHash".* where u.tenant_id = \$1 and u.id = \$2$/s,
  /from jsonb_to_recordset\(\$1::jsonb\) as w \("tenantId" uuid, "listId" uuid\)/,
]

describeBackends('isolation with one fence', (backend) => {
  afterAll(closeSockets)

  test('every statement that is sent for a tenant names the tenant wherever it names a table', async () => {
    const { mirror, senders } = await siegeOn(backend)
    const tables = (await findTenantTables(mirror.server)).map(({ name }) => name)
    expect([...senders.keys()].flatMap((text) => unfencedIn(text, tables))).toEqual([])
    expect(weakened(senders).length).toBeGreaterThan(30)
  })

  test('without row-level security nothing leaks', async () => {
    const siege = await siegeOn(backend)
    const { server, theirs } = siege.mirror
    const followers = await followersOf(siege.mirror)
    const before = await checksum(server, theirs)
    await setRowSecurity(server, false)
    try {
      expect(await besiege(siege, siege.attempts, before)).toEqual([])
      expect(await followers.faults()).toEqual([])
    } finally {
      await setRowSecurity(server, true)
      await followers.close()
    }
  })

  // Statement by statement is the larger part of the work, and both databases are sent the same statements.
  if (backend === 'embedded' && !isLong) return

  test('without the predicates of any one statement, and without those of all, nothing leaks', async () => {
    const siege = await siegeOn(backend)
    const { tap, senders, attempts, mirror } = siege
    const followers = await followersOf(mirror)
    const before = await checksum(mirror.server, mirror.theirs)
    const leaks: string[] = []
    for (const [text, its] of weakened(senders)) {
      tap.weaken((sent) => sent === text)
      const faults = await besiege(siege, its, before)
      leaks.push(...faults.map((fault) => `${fault}, without the predicates of ${text.trim().slice(0, 200)}`))
    }
    tap.weaken(() => true)
    leaks.push(...(await besiege(siege, attempts, before)))
    tap.weaken(() => false)
    expect(leaks).toEqual([])
    expect(await followers.faults()).toEqual([])
    await followers.close()
  })

  test('without both, statement by statement, the same attack sees it leak', async () => {
    const siege = await siegeOn(backend)
    const { mirror, tap, senders } = siege
    const putBack = await keepRows(mirror.server)
    const before = await checksum(mirror.server, mirror.theirs)
    await setRowSecurity(mirror.server, false)
    const unseen: string[] = []
    let leaks = 0
    for (const [text, its] of weakened(senders)) {
      tap.weaken((sent) => sent === text)
      const faults = await besiege(siege, its, before)
      tap.weaken(() => false)
      if (faults.length > 0) await putBack()
      else if (!harmless.some((pattern) => pattern.test(text))) unseen.push(text)
      if (faults.some((fault) => fault.includes(leaked))) leaks++
    }
    await setRowSecurity(mirror.server, true)
    expect(unseen).toEqual([])
    expect(leaks).toBeGreaterThan(20)
  })

  afterAll(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop()))
  })
})
