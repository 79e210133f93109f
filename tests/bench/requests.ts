/**
 * How close the hot requests come to what this machine can do: `bun tests/bench/requests.ts [seconds]`. The ceilings,
 * measured in the same run: for a read, /healthz, which takes the same path without a database; for a write, the same
 * transaction without HTTP or sign-in. Starts PostgreSQL and Redis; the server runs in a process of its own.
 */
import { sql } from 'drizzle-orm'
import { internalSource } from '../../src/access/actor.ts'
import { openDatabase } from '../../src/db/open.ts'
import { addItems } from '../../src/features/items/service.ts'
import { recordingLogger } from '../support/log.ts'
import { makeList, makeTenant, type Person } from '../support/people.ts'
import { startPostgres } from '../support/postgres.ts'
import { asServer, createProgram, environmentFor } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'
import { startInbox } from '../support/smtp.ts'

export interface Ratio {
  what: string
  perSecond: number
  ceilingPerSecond: number
  /** Share of the ceiling; 1 is as fast. */
  ratio: number
}

const callers = 32

/** @param seconds how long each measurement takes */
export async function measureRequests(seconds: number): Promise<Ratio[]> {
  const [postgres, redis, inbox] = await Promise.all([startPostgres(), startRedis(), startInbox()])
  const program = createProgram('source')
  const { url: databaseUrl } = await postgres.createDatabase()
  const dataDir = await program.folder()
  const environment = {
    ...environmentFor(inbox, dataDir),
    DATABASE_URL: databaseUrl,
    REDIS_URL: redis.url,
    JWT_SECRET_KEY: 'for measuring only: long enough to sign with',
    LOG_LEVEL: 'warn',
  }
  const { url } = await (await program.start(['serve'], { env: environment })).ready()
  const db = await openDatabase({ databaseUrl, dataDir, log: recordingLogger(), autoMigrate: false })
  try {
    const { admin, id: tenantId } = await makeTenant(
      asServer({ url }, { backend: 'full', inbox, environment }),
    )
    const lists = await Promise.all(Array.from({ length: callers }, () => makeList(admin)))
    const actor = {
      tenantId,
      userId: admin.id,
      role: 'tenant_admin',
      sessionId: admin.id,
      keyed: null,
      ...internalSource,
    } as const
    const writer = { db, quotas: { lists: null, bytes: null }, publish: () => undefined }
    const listOf = (caller: number): string => lists[caller]?.id ?? ''
    // Keeps the lists below their limit for the whole run.
    const empty = () =>
      db.write({ tenantId }, sql`update shopping_lists set item_count = 0, pending_count = 0`)

    const healthz = await throughput(seconds, () => get(`${url}/healthz`))
    const me = await throughput(seconds, () => get(`${url}/api/v1/auth/me`, admin))
    const write = await throughput(seconds, (caller) =>
      addItems(writer, actor, listOf(caller), [{ name: 'Milk' }], 'one'),
    )
    await empty()
    const add = await throughput(seconds, (caller) =>
      post(`${url}/api/v1/shopping-lists/${listOf(caller)}/items`, admin),
    )
    return [ratio('me, to /healthz', me, healthz), ratio('add an item, to its transaction', add, write)]
  } finally {
    await db.close()
    await program.clean()
    await Promise.all([postgres.end(), redis.end(), inbox.stop()])
  }
}

const ratio = (what: string, perSecond: number, ceilingPerSecond: number): Ratio => ({
  what,
  perSecond: Math.round(perSecond),
  ceilingPerSecond: Math.round(ceilingPerSecond),
  ratio: Math.round((perSecond / ceilingPerSecond) * 100) / 100,
})

/** Calls per second with this many concurrent callers; the first tenth of a second is warm-up. */
async function throughput(seconds: number, call: (caller: number) => Promise<unknown>): Promise<number> {
  const from = performance.now() + 100
  const until = from + seconds * 1000
  let calls = 0
  const work = async (caller: number): Promise<void> => {
    while (performance.now() < until) {
      await call(caller)
      if (performance.now() >= from) calls++
    }
  }
  await Promise.all(Array.from({ length: callers }, (_, caller) => work(caller)))
  return calls / seconds
}

const get = async (url: string, person?: Person): Promise<void> =>
  expectOk(await fetch(url, person ? { headers: { authorization: `Bearer ${person.accessToken}` } } : {}))

const post = async (url: string, person: Person): Promise<void> =>
  expectOk(
    await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${person.accessToken}`, 'content-type': 'application/json' },
      body: '{"name":"Milk"}',
    }),
  )

async function expectOk(response: Response): Promise<void> {
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}: ${await response.text()}`)
  await response.arrayBuffer()
}

if (import.meta.main) console.table(await measureRequests(Number(process.argv[2] ?? 5)))
