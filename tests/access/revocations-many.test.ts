/**
 * Many revocations at once, as an import beside running instances brings them: each is read once, whenever its
 * transaction commits. `bun run test:long` prints what 100,000 of them cost an instance with sockets.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { createRevocations } from '../../src/access/revocations.ts'
import type { Database, Scope } from '../../src/db/database.ts'
import { compileStatement } from '../../src/db/statement.ts'
import { emptyArchive, entriesOf, importText, sealed } from '../support/archive.ts'
import { recordingLogger } from '../support/log.ts'
import { makeTenant, makeUser, type Tenant } from '../support/people.ts'
import { asServer, describeExecutable, fullEnvironmentFor } from '../support/program.ts'
import { isLong, report } from '../support/rounds.ts'
import { describeFull, startInstance, startServer, type TestServer } from '../support/server.ts'
import { startInbox } from '../support/smtp.ts'
import { closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

/** More than fit into one answer. */
const amount = 2500

function archiveOf(count: number): { text: string; tenantId: string; subjects: string[] } {
  const tenantId = Bun.randomUUIDv7()
  const subjects = Array.from({ length: count }, () => Bun.randomUUIDv7()).sort()
  const rows = subjects.map((subject) => ({
    ...{ table: 'revocations', subject, minimum_epoch: 1, spared_session: null, spared_epoch: null },
  }))
  const entries = entriesOf(emptyArchive({ id: tenantId, slug: `many-${tenantId}` }))
  return { text: sealed(entries.toSpliced(2, 0, ...rows)), tenantId, subjects }
}

describeFull('revocations', () => {
  let server: TestServer
  let other: TestServer
  let tenant: Tenant
  /** Since they were last looked at. */
  let rowsRead = 0
  let polls = 0

  beforeAll(async () => {
    server = await startServer('full')
    other = await startInstance(server)
    tenant = await makeTenant(server)
    const { db } = server.running.deps
    const { readUrgent, transaction } = db
    db.readUrgent = async (scope, statement) => {
      const rows = await readUrgent(scope, statement)
      if (compileStatement(statement).text.includes('from revocations')) {
        polls++
        for (const row of rows as { rows?: unknown[] }[]) rowsRead += row.rows?.length ?? 0
      }
      return rows
    }
    db.transaction = (scope, work, kind) =>
      transaction(
        scope,
        (query) =>
          work(async (statement) => {
            const rows = await query(statement)
            if (compileStatement(statement).text.startsWith('fetch')) rowsRead += rows.length
            return rows
          }),
        kind,
      )
  })
  afterAll(async () => {
    await other.stop()
    await server.stop()
  })

  const isKnown = (tenantId: string, subject: string) =>
    server.running.deps.revocations.covers(tenantId, subject, 0, subject)
  const nextPolls = async (count: number): Promise<void> => {
    const begun = polls
    await until(() => polls >= begun + count, 'some polls')
  }
  const insert = (subject: string, at = sql`clock_timestamp()`) => sql`
    insert into revocations (tenant_id, subject, minimum_epoch, at) values (${tenant.id}, ${subject}, 1, ${at})`

  test('that an import brings are read once each', async () => {
    await nextPolls(3)
    rowsRead = 0
    const { text, tenantId, subjects } = archiveOf(amount)
    await importText(other.running.deps.db, text)
    await until(() => subjects.every((subject) => isKnown(tenantId, subject)), 'all to be known', 10_000)
    await nextPolls(5)
    // Besides, those by which it was known that there were too many for one answer.
    expect(rowsRead).toBe(amount + 1001)
  })

  test('of a transaction that commits long after it wrote reach other instances once it has', async () => {
    const [early, late] = [Bun.randomUUIDv7(), Bun.randomUUIDv7()]
    await other.running.deps.db.transaction('system', async (query) => {
      await query(insert(early, sql`clock_timestamp() - interval '10 minutes'`))
      await other.running.deps.db.write('system', insert(late))
      await until(() => isKnown(tenant.id, late), 'the later one', 5000)
      expect(isKnown(tenant.id, early)).toBe(false)
    })
    await until(() => isKnown(tenant.id, early), 'the earlier one', 5000)
  })

  test('that the release before writes again are noticed each time', async () => {
    const subject = Bun.randomUUIDv7()
    const write = (epoch: number) =>
      other.running.deps.db.write(
        'system',
        sql`insert into revocations (tenant_id, subject, minimum_epoch) values (${tenant.id}, ${subject}, ${epoch})
          on conflict (tenant_id, subject) do update set minimum_epoch = excluded.minimum_epoch`,
      )
    for (const epoch of [1, 2, 3]) {
      await write(epoch)
      const covers = () => server.running.deps.revocations.covers(tenant.id, subject, epoch - 1, subject)
      await until(covers, `epoch ${epoch}`, 5000)
    }
  })

  test('from another server’s copy, with transaction ids of the future, are read at the start alone', async () => {
    const subject = Bun.randomUUIDv7()
    await server.running.deps.db.transaction('system', async (query) => {
      await query(sql`set local role none`)
      await query(sql`set local session_replication_role = replica`)
      await query(sql`insert into revocations (tenant_id, subject, minimum_epoch, transaction_id)
        values (${tenant.id}, ${subject}, 1, '900000000000')`)
    })
    await nextPolls(3)
    rowsRead = 0
    await nextPolls(3)
    expect(rowsRead).toBe(0)
    const late = await startInstance(server)
    expect(late.running.deps.revocations.covers(tenant.id, subject, 0, subject)).toBe(true)
    await late.stop()
  })
})

test('after an older copy of the database takes its place, all that are in force are read again', async () => {
  const asked: string[] = []
  const snapshots = ['900:900:', '905:905:', '120:120:', '120:120:', '125:125:']
  const readUrgent = async (_scope: Scope, statement: Parameters<typeof compileStatement>[0]) => {
    asked.push(compileStatement(statement).text.includes('pg_visible_in_snapshot') ? 'unseen' : 'in force')
    return [{ snapshot: snapshots.shift() ?? '130:130:', rows: [] }]
  }
  const db = { readUrgent } as unknown as Database
  const revocations = createRevocations(db, recordingLogger(), 900)
  await revocations.load()
  const stop = revocations.poll(1)
  await until(() => asked.length > 5)
  stop()
  expect(asked.slice(0, 5)).toEqual(['in force', 'unseen', 'unseen', 'in force', 'unseen'])
})

const imported = 100_000
const people = 20
const socketsEach = 50
const windowSeconds = 30

/** Seconds of processor time that these processes have used. */
async function processorSeconds(pids: readonly number[]): Promise<number> {
  const ticks = pids.map(async (pid) => {
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
    return Number(fields[11]) + Number(fields[12])
  })
  return (await Promise.all(ticks)).reduce((sum, each) => sum + each, 0) / 100
}

interface Cost {
  /** Of a core. */
  instance: number
  itsConnections: number
  slowestMs: number
}

if (isLong)
  describeExecutable('100,000 revocations', (program) => {
    test('imported beside an instance with 1,000 sockets cost it less than 5 % of a core', async () => {
      const [inbox, cwd] = await Promise.all([startInbox(), program.folder()])
      const { env, database: home } = await fullEnvironmentFor(inbox, join(cwd, 'data'))
      const instance = await (await program.start([], { env })).ready()
      const server = asServer(instance, { backend: 'full', inbox, environment: env })
      const tenant = await makeTenant(server)
      const users = await Promise.all(Array.from({ length: people }, () => makeUser(server, tenant)))
      for (const { accessToken } of users)
        await Promise.all(Array.from({ length: socketsEach }, () => openSocket(server, accessToken)))
      const database = postgres(home.url, { max: 1 })
      const connections = await database<{ pid: number }[]>`
        select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`

      const costOf = async (work: () => Promise<unknown>): Promise<Cost> => {
        const used = async () => [
          await processorSeconds([instance.pid]),
          await processorSeconds(connections.map(({ pid }) => pid)),
        ]
        const [begun, before] = [performance.now(), await used()]
        const working = work()
        let slowestMs = 0
        while (performance.now() - begun < windowSeconds * 1000) {
          const asked = performance.now()
          await (await fetch(`${instance.url}/healthz`)).arrayBuffer()
          slowestMs = Math.max(slowestMs, performance.now() - asked)
          await Bun.sleep(20)
        }
        await working
        const after = await used()
        const shares = after.map((each, index) => (each - (before[index] ?? 0)) / windowSeconds)
        return { instance: shares[0] ?? 0, itsConnections: shares[1] ?? 0, slowestMs }
      }
      const quiet = await costOf(async () => undefined)
      const file = join(cwd, 'many.jsonl')
      await writeFile(file, archiveOf(imported).text)
      const busy = await costOf(async () => {
        expect((await program.run(['import', file], { cwd, env })).code).toBe(0)
      })
      const after = await costOf(async () => undefined)
      const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
      for (const [what, cost] of Object.entries({ before: quiet, during: busy, after }))
        report(
          `${windowSeconds} s ${what} an import of ${imported} revocations: ${percent(cost.instance)} of a core, ` +
            `its connections ${percent(cost.itsConnections)}, slowest answer ${cost.slowestMs.toFixed(0)} ms`,
        )
      const [ann] = users
      const socket = await openSocket(server, ann?.accessToken ?? '')
      const signedOut = performance.now()
      expect((await ann?.api.post('/auth/logout'))?.status).toBe(204)
      expect((await socket.closed).code).toBe(4001)
      report(`then a signed-out socket closed after ${(performance.now() - signedOut).toFixed(0)} ms`)
      for (const cost of [busy, after]) {
        expect(cost.instance - quiet.instance).toBeLessThan(0.05)
        expect(cost.itsConnections - quiet.itsConnections).toBeLessThan(0.05)
      }
      closeSockets()
      await database.end({ timeout: 2 })
      instance.signal('SIGTERM')
      await instance.exited
      await inbox.stop()
      await home.drop()
    }, 300_000)
  })
