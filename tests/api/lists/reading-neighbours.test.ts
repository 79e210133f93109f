/** While one user reads as much as they can, others do not notice. */
import { expect, test } from 'bun:test'
import { join as joinPath } from 'node:path'
import postgres from 'postgres'
import type { Answer } from '../../support/client.ts'
import { makeList, makeTenant, makeUser } from '../../support/people.ts'
import { asServer, describeExecutable, fullEnvironmentFor } from '../../support/program.ts'
import { isLong, report } from '../../support/rounds.ts'
import { describeFull, sharedServer } from '../../support/server.ts'
import { startInbox } from '../../support/smtp.ts'
import { until } from '../../support/until.ts'

describeFull('forty whole lists and forty replays of one user', () => {
  test('are read two at once; everybody else is answered meanwhile', async () => {
    const server = await sharedServer('full')
    const admin = postgres(server.environment['DATABASE_URL'] ?? '', { max: 2, onnotice: () => undefined })
    const { admin: ann } = await makeTenant(server)
    const { admin: stranger } = await makeTenant(server)
    const list = await makeList(ann)
    const answers: Answer[] = []
    let reads: Promise<unknown> | undefined
    const waitingForLocks = async (): Promise<number> => {
      const [row] = await admin`select count(*)::int as n from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`
      return row?.['n']
    }
    await admin.begin(async (holder) => {
      await holder`lock table items, list_events in access exclusive mode`
      reads = Promise.all(
        Array.from({ length: 80 }, async (_, index) =>
          answers.push(await ann.api.get(`/shopping-lists/${list.id}${index % 2 ? '/events' : ''}`)),
        ),
      )
      await until(async () => (await waitingForLocks()) === 4, 'two reads of each')
      for (let round = 0; round < 10; round++) {
        expect((await stranger.api.get('/auth/me')).status).toBe(200)
        expect((await stranger.api.post('/shopping-lists', { name: 'Theirs' })).status).toBe(201)
        expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
      }
      expect(await waitingForLocks()).toBe(4)
      expect(answers).toEqual([])
    })
    await reads
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    await admin.end({ timeout: 2 })
  })
})

const loadSeconds = 20

if (isLong)
  describeExecutable('a user who reads as much as they can', (program) => {
    test('is not felt by another tenant', async () => {
      const [inbox, cwd] = await Promise.all([startInbox(), program.folder()])
      const { env, database } = await fullEnvironmentFor(inbox, joinPath(cwd, 'data'))
      const [instance, elsewhere] = await Promise.all(
        ['one', 'two'].map(async (name) =>
          (await program.start([], { env: { ...env, DATA_DIR: joinPath(cwd, name) } })).ready(),
        ),
      )
      if (!instance || !elsewhere) throw new Error('no instances')
      const server = asServer(instance, { backend: 'full', inbox, environment: env })
      const { admin: ann } = await makeTenant(server)
      const tenant = await makeTenant(server)
      const stranger = tenant.admin
      const [big, theirs] = [await makeList(ann), await makeList(stranger)]
      // 3.7 MB, of characters of four bytes.
      const items = Array.from({ length: 100 }, () => ({
        name: '🥛'.repeat(255),
        note: '🥛'.repeat(2000),
      }))
      for (let count = 0; count < 4; count++)
        expect((await ann.api.post(`/shopping-lists/${big.id}/items`, { items })).status).toBe(201)

      const reader = Bun.spawn(
        [process.execPath, joinPath(import.meta.dir, '../../support/hungry-reader.ts')],
        {
          env: { ...process.env, URL: instance.url, TOKEN: ann.accessToken, LIST: big.id },
          stdio: ['pipe', 'pipe', 'inherit'],
        },
      )
      const times: number[] = []
      const revocations: number[] = []
      const statuses = new Set<number>()
      let memory = 0
      const begun = performance.now()
      while (performance.now() - begun < loadSeconds * 1000) {
        for (const call of [
          () => stranger.api.get(`/shopping-lists/${theirs.id}`),
          () => stranger.api.post(`/shopping-lists/${theirs.id}/items`, { name: 'Milk' }),
        ]) {
          const asked = performance.now()
          statuses.add((await call()).status)
          times.push(performance.now() - asked)
        }
        statuses.add((await fetch(`${instance.url}/readyz`)).status)
        memory = Math.max(memory, await residentBytes(instance.pid))
        if (revocations.length < 5) {
          const person = await makeUser(server, tenant)
          const signedOut = asServer(elsewhere, { backend: 'full', inbox, environment: env })
          const answer = await fetch(`${signedOut.url}/api/v1/auth/logout`, {
            method: 'POST',
            headers: { authorization: `Bearer ${person.accessToken}` },
          })
          expect(answer.status).toBe(204)
          const revoked = performance.now()
          await until(async () => (await person.api.get('/auth/me')).status === 401, 'the revocation')
          revocations.push(performance.now() - revoked)
        }
      }
      reader.stdin.end()
      const done = await new Response(reader.stdout).text()
      const p99 = times.toSorted((one, two) => one - two)[Math.floor(times.length * 0.99)] ?? 0
      report(
        `${loadSeconds} s of reading ${done.trim()}: ${times.length} calls of another tenant, p99 ${p99.toFixed(0)} ms, ` +
          `slowest ${Math.max(...times).toFixed(0)} ms; revoked elsewhere after at most ` +
          `${Math.max(...revocations).toFixed(0)} ms; ${(memory / 2 ** 20).toFixed(0)} MB`,
      )
      expect([...statuses].toSorted()).toEqual([200, 201])
      expect(p99).toBeLessThan(250)
      expect(Math.max(...revocations)).toBeLessThan(1000)
      expect(memory).toBeLessThan(600 * 2 ** 20)
      for (const each of [instance, elsewhere]) {
        each.signal('SIGTERM')
        await each.exited
      }
      await inbox.stop()
      await database.drop()
    }, 300_000)
  })

async function residentBytes(pid: number): Promise<number> {
  const status = await Bun.file(`/proc/${pid}/status`).text()
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}
