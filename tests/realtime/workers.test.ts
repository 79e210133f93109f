/** WORKERS over 1, as an operator starts it: several processes on one port acting as one service. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { addItem, asPerson, makeList, makeTenant, type Person } from '../support/people.ts'
import { type TestDatabase, testPostgres } from '../support/postgres.ts'
import { asServer, createProgram, environmentFor, type Running } from '../support/program.ts'
import { testRedis } from '../support/redis.ts'
import { describeFull, type TestServer } from '../support/server.ts'
import { onFreePort } from '../support/service.ts'
import { type Inbox, startInbox } from '../support/smtp.ts'
import { closeCode, closeSockets, openSocket, type TestSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const followers = 30

describeFull('workers', () => {
  const program = createProgram('source')
  let database: TestDatabase
  let inbox: Inbox
  let environment: Record<string, string>
  let running: Running
  let server: TestServer
  let ann: Person

  beforeAll(async () => {
    const [postgres, redis] = await Promise.all([testPostgres(), testRedis()])
    database = await postgres.createDatabase()
    inbox = await startInbox()
    environment = {
      ...environmentFor(inbox, await program.folder()),
      DATABASE_URL: database.url,
      REDIS_URL: await redis.freshDatabase(),
      JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789',
      PORT: await onFreePort(async (port) => String(port)),
      WORKERS: '2',
    }
    running = await (await program.start(['serve'], { env: environment })).ready()
    server = asServer(running, { backend: 'full', inbox, environment })
    await until(() => workers().length === 2, 'two workers')
    ann = (await makeTenant(server)).admin
  })
  afterEach(closeSockets)
  afterAll(async () => {
    await program.clean()
    await inbox.stop()
    await database.drop()
  })

  const workers = (pid = running.pid): number[] => children(pid)
  /** The kernel spreads connections; with this many, both workers get some. */
  const follow = async (listId: string): Promise<TestSocket[]> => {
    const sockets = await Promise.all(
      Array.from({ length: followers }, () => openSocket(server, ann.accessToken)),
    )
    await Promise.all(sockets.map((socket) => socket.follow(listId, 0)))
    return sockets
  }
  const allReady = () =>
    until(async () => {
      // Each of these may reach either worker.
      const asked = await Promise.all(
        Array.from({ length: 10 }, () =>
          fetch(`${running.url}/readyz`, { headers: { connection: 'close' } }),
        ),
      )
      return asked.every(({ status }) => status === 200)
    })

  test('print one greeting, with the shared address', () => {
    expect(running.url).toEndWith(`:${environment['PORT']}`)
    expect(running.lines().filter(({ message }) => message === 'MiniMart is ready')).toHaveLength(1)
  })

  test('sync: whichever worker writes, subscribers on both receive it, and a logout closes sockets on both', async () => {
    const { id } = await makeList(ann)
    const sockets = await follow(id)
    for (let item = 0; item < 20; item++) await addItem(ann, id)
    await until(() => sockets.every((socket) => socket.seqs(id).length === 20), 'all events at all')
    const all = Array.from({ length: 20 }, (_, index) => index + 1)
    for (const socket of sockets) expect(socket.seqs(id)).toEqual(all)
    expect((await ann.api.post('/auth/logout')).status).toBe(204)
    const codes = await Promise.all(sockets.map((socket) => closeCode(socket, 1500)))
    expect([...new Set(codes)]).toEqual([4001])
    ann = await asPerson(server, ann.email, ann.password)
  })

  test('a killed one is replaced; its subscribers reconnect and miss nothing, the others stay connected', async () => {
    const { id } = await makeList(ann)
    const sockets = await follow(id)
    const [killed = 0] = workers()
    process.kill(killed, 'SIGKILL')
    await until(() => sockets.some((socket) => !socket.isOpen()), 'the loss of some')
    await until(() => workers().length === 2 && !workers().includes(killed), 'another worker', 20_000)
    const kept = sockets.filter((socket) => socket.isOpen())
    expect(kept.length).toBeGreaterThan(0)
    expect(kept.length).toBeLessThan(followers)
    await until(() => addItem(ann, id).catch(() => null), 'a change')
    const back = await openSocket(server, ann.accessToken)
    await back.follow(id, 0)
    for (const socket of [...kept, back]) await until(() => socket.seqs(id).length === 1)
    await allReady()
    const died = running.lines().filter(({ message }) => message === 'a worker ended; restarting it')
    expect(died).toHaveLength(1)
    expect(died[0]).toMatchObject({ signal: 'SIGKILL' })
  })

  test('SIGTERM drains all: every socket gets 1012, the program exits with 0, and no process is left', async () => {
    const { id } = await makeList(ann)
    const sockets = await follow(id)
    const pids = workers()
    expect(pids).toHaveLength(2)
    const begun = performance.now()
    running.signal('SIGTERM')
    const codes = await Promise.all(sockets.map((socket) => closeCode(socket, 10_000)))
    expect([...new Set(codes)]).toEqual([1012])
    expect(await running.exited).toBe(0)
    expect(performance.now() - begun).toBeLessThan(10_000)
    expect(running.errors()).toBe('')
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow()
  })

  test('refuse a port that is taken, and PORT=0, each with a clear message', async () => {
    const taken = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
    for (const port of [String(taken.port), '0']) {
      const outcome = await program.run(['serve'], { env: { ...environment, PORT: port } })
      expect(outcome.code).toBe(1)
      expect(outcome.stdout + outcome.stderr).toContain('PORT')
    }
    taken.stop(true)
  })

  test('exit with their parent process, however it ended', async () => {
    const own = await (await program.start(['serve'], { env: environment })).ready()
    await until(() => workers(own.pid).length === 2, 'two workers')
    const pids = workers(own.pid)
    own.signal('SIGKILL')
    await until(() => pids.every((pid) => !alive(pid)), 'the end of the workers', 15_000)
  })

  test('that cannot start are not restarted for ever', async () => {
    const outcome = await program.run(['serve'], {
      env: { ...environment, DATABASE_URL: `${database.url}_is_not_there` },
    })
    expect(outcome.code).toBe(1)
  })
})

const children = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
