/**
 * Many sockets: what they cost, and that a crowd reconnecting after a crash loses nothing. A small crowd in the usual
 * run; MINIMART_LOAD=full takes 3,000 and 1,000, and the time their memory takes to settle.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readFile } from 'node:fs/promises'
import { makeList, type Person } from '../support/people.ts'
import { describeFull } from '../support/server.ts'
import { until } from '../support/until.ts'
import { type Cluster, openStage, type Stage, startCluster } from './faults/cluster.ts'
import { randomFrom } from './faults/random.ts'
import { checkWrites, createRecorder } from './faults/recorder.ts'
import { readMessage } from './faults/replica.ts'
import { startSubscriber } from './faults/subscriber.ts'
import { startWriter } from './faults/writer.ts'

const full = process.env['MINIMART_LOAD'] === 'full'
const idleSockets = full ? 3000 : 600
const returningClients = full ? 1000 : 300
/** Uncollected garbage weighs more on a few, so only the full crowd is held to 10 KB. */
const maxBytesASocket = (full ? 10 : 30) * 1024
/** Bun collects garbage some ten seconds after the last work. */
const settleMs = full ? 12_000 : 1000
const warmUpSockets = 500
const idleLists = 100
/** Of the 200 that a user may have on an instance. */
const socketsPerPerson = 150
const crowd = Math.ceil((warmUpSockets + idleSockets) / socketsPerPerson)
const testMs = 240_000

describeFull('a crowd of sockets', () => {
  let stage: Stage
  let cluster: Cluster
  beforeAll(async () => {
    stage = await openStage()
    cluster = await startCluster(stage, { instances: 2, lists: 20, more: crowd })
  })
  afterAll(async () => {
    await cluster.end()
    await stage.end()
  })

  test(
    `${idleSockets} idle subscribed sockets cost at most ${maxBytesASocket} bytes each and do not slow requests down`,
    async () => {
      const [instance] = cluster.instances
      const { people } = cluster
      const [person] = people
      const listIds = await Promise.all(
        Array.from({ length: idleLists }, async () => (await makeList(person)).id),
      )
      const open = (count: number): Promise<WebSocket[]> => openSockets(instance.url, people, listIds, count)
      // The first ones pay for compilation and for everything shared.
      const sockets = await open(warmUpSockets)
      await measureRequests(person, listIds)
      const before = {
        ms: await measureRequests(person, listIds),
        bytes: await settledMemory(instance.pid()),
      }
      sockets.push(...(await open(idleSockets)))
      const bytes = (await settledMemory(instance.pid())) - before.bytes
      const ms = await measureRequests(person, listIds)
      console.log(
        `${idleSockets} idle sockets: ${Math.round(bytes / idleSockets)} bytes each;`,
        `a request's median and 95th percentile before ${before.ms.join(' and ')} ms, with them ${ms.join(' and ')} ms`,
      )
      expect(sockets.filter(({ readyState }) => readyState !== WebSocket.OPEN)).toEqual([])
      expect(bytes / idleSockets).toBeLessThan(maxBytesASocket)
      expect(ms[0]).toBeLessThan(before.ms[0] * 1.5 + 2)
      for (const socket of sockets) socket.terminate()
    },
    testMs,
  )

  test(
    `${returningClients} clients that reconnect together after an instance's crash resume without loss`,
    async () => {
      const [dying, other] = cluster.instances
      const recorder = createRecorder()
      const random = randomFrom(1)
      const { listIds, people } = cluster
      let isDead = false
      const clients = Array.from({ length: returningClients }, (_, index) =>
        startSubscriber({
          name: `client ${index}`,
          token: people[index % people.length]?.accessToken ?? '',
          route: () => (isDead ? (other?.url ?? '') : dying.url),
          random: random.fork(),
          lists: new Map([[listIds[index % listIds.length] ?? '', null]]),
          problem: recorder.problem,
          silenceTimeoutMs: testMs,
        }),
      )
      const writers = [0, 1].map((index) =>
        startWriter({
          name: `writer ${index}`,
          token: people[0].accessToken,
          route: () => other?.url ?? '',
          listIds,
          random: random.fork(),
          recorder,
        }),
      )
      const behind = async (): Promise<number> => {
        const heads = await headsOf(cluster)
        return clients.filter(({ replicas }) =>
          [...replicas.values()].some(({ listId, seq }) => seq() < (heads.get(listId) ?? 0)),
        ).length
      }
      await until(
        () => clients.every(({ replicas }) => [...replicas.values()].every(({ seq }) => seq() > 0)),
        'everyone having received something',
        60_000,
      )
      isDead = true
      await dying.kill()
      const died = performance.now()
      await until(() => clients.every((client) => client.connections() > 1), 'everyone coming back', 30_000)
      await Promise.all(writers.map((writer) => writer.stop(20_000)))
      await until(async () => (await behind()) === 0, 'everyone knowing everything', 30_000)
      console.log(
        `${returningClients} clients had resumed ${Math.round(performance.now() - died)} ms after the crash`,
      )
      for (const client of clients) client.stop()
      await checkWrites(cluster.sql, listIds, recorder)
      expect(recorder.problems).toEqual([])
      expect(recorder.writes.filter(({ acknowledged }) => !acknowledged)).toEqual([])
      await dying.start()
    },
    testMs,
  )
})

const openBatch = 100

/** Each subscribes to one list and then stays silent. */
async function openSockets(
  url: string,
  people: readonly Person[],
  listIds: readonly string[],
  count: number,
): Promise<WebSocket[]> {
  const sockets: WebSocket[] = []
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(openBatch, count - sockets.length) }, (_, index) =>
      openSocket(
        url,
        people[(sockets.length + index) % people.length]?.accessToken ?? '',
        listIds[(sockets.length + index) % listIds.length] ?? '',
      ),
    )
    sockets.push(...(await Promise.all(some)))
  }
  return sockets
}

function openSocket(url: string, token: string, listId: string): Promise<WebSocket> {
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>()
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws?token=${token}`)
  socket.onmessage = ({ data }) => {
    const { type } = readMessage(data)
    if (type === 'connected') socket.send(JSON.stringify({ type: 'subscribe', payload: { list_id: listId } }))
    else if (type === 'subscribed') resolve(socket)
    else reject(new Error(`received ${type}`))
  }
  socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`))
  return promise
}

const samples = 300
const runs = full ? 4 : 2

/** @returns median and 95th percentile of reading a list, in milliseconds; the best of several runs */
async function measureRequests(person: Person, listIds: readonly string[]): Promise<[number, number]> {
  let best: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let run = 0; run < runs; run++) {
    const took: number[] = []
    for (let index = 0; index < samples; index++) {
      const begun = performance.now()
      await person.api.get(`/shopping-lists/${listIds[index % listIds.length]}`)
      took.push(performance.now() - begun)
    }
    took.sort((a, b) => a - b)
    const at = (part: number): number => Math.round((took[Math.floor(samples * part)] ?? 0) * 100) / 100
    if (at(0.5) < best[0]) best = [at(0.5), at(0.95)]
  }
  return best
}

/** Resident bytes, once they stop falling: garbage is collected with a delay. */
async function settledMemory(pid: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  let lastFall = performance.now()
  await until(
    async () => {
      const bytes = await residentBytes(pid)
      if (bytes < least * 0.995) lastFall = performance.now()
      least = Math.min(least, bytes)
      return performance.now() - lastFall > settleMs
    },
    'memory to settle',
    60_000,
  )
  return least
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

async function headsOf({ sql }: Cluster): Promise<Map<string, number>> {
  const rows = await sql<{ id: string; seq: string }[]>`select id, seq from shopping_lists`
  return new Map(rows.map(({ id, seq }) => [id, Number(seq)]))
}
