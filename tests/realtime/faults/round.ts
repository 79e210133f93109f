/**
 * One round: a cluster of its own, writers and subscribers at work, faults, and then a quiet end, by which every
 * subscriber must have seen every event once and in order and match the database, and every acknowledged write must be
 * there once with one event.
 */
import { scrape, sumOf } from '../../support/metrics.ts'
import { type Stage, startCluster } from './cluster.ts'
import { faults } from './faults.ts'
import type { Plan } from './plan.ts'
import type { Random } from './random.ts'
import { checkWrites, createRecorder } from './recorder.ts'
import type { Requests } from './requests.ts'
import type { Subscriber } from './subscriber.ts'
import { createWorld, type World } from './world.ts'

export interface Report {
  /** Empty if all went well. */
  problems: readonly string[]
  events: number
  writes: number
  unacknowledged: number
  retries: number
  subscribers: number
  connections: number
  /** From the end of faults and writes until everyone was up to date. */
  settledMs: number
  /** From a write on each list after that until everyone had it; the slowest of several. */
  lastMs: number
  /** The instances' logs. */
  log: string
}

const settleDeadlineMs = 20_000
const writersDeadlineMs = 20_000
/** The contract's 5 s, plus some time for a client that is just reconnecting. */
const lastDeadlineMs = 6000
/** Redis is back when it brings the events of this many writes in a row, so that no instance reads any from the database. */
const liveWrites = 2
const maxLastWrites = 8

export async function runRound(stage: Stage, plan: Plan): Promise<Report> {
  // Everyone who draws while the round runs gets a sequence up front: the order of events must not matter.
  const { random } = plan
  const cluster = await startCluster(stage, plan)
  const recorder = createRecorder()
  const world = createWorld(cluster, recorder, random.fork())
  const lastWriter = world.requests(random.fork())
  let settledMs = 0
  let lastMs = 0
  let events = 0
  try {
    await work(world, plan)
    const begun = performance.now()
    events = await world.expectAllKnown(settleDeadlineMs)
    settledMs = performance.now() - begun
    lastMs = await writeLast(world, lastWriter)
    await world.compare()
    await checkWrites(cluster.sql, cluster.listIds, recorder)
  } catch (error) {
    recorder.problem(error instanceof Error ? error.message : String(error))
  } finally {
    world.end()
    await cluster.end()
  }
  return {
    problems: recorder.problems,
    events,
    writes: recorder.writes.length,
    unacknowledged: recorder.writes.filter(({ acknowledged }) => !acknowledged).length,
    retries: recorder.retries,
    subscribers: world.subscribers.length,
    connections: world.subscribers.reduce((sum, subscriber) => sum + subscriber.connections(), 0),
    settledMs: Math.round(settledMs),
    lastMs: Math.round(lastMs),
    log: cluster.instances.map((instance) => instance.log()).join('\n'),
  }
}

/** Everyone writes, subscribes, joins and leaves while faults happen. */
async function work(world: World, plan: Plan): Promise<void> {
  const { random, writeMs, pauseMs } = plan
  const stopChanging = changeSubscribers(world.subscribers, random.fork())
  world.onEnd(stopChanging)
  const pause = pauseMs === undefined ? {} : { pauseMs }
  for (let index = 0; index < plan.writers; index++) world.addWriter(`writer ${index}`, random.fork(), pause)
  const joining = each(plan.subscribers, async (index) => {
    const own = random.fork()
    if (index % 2 === 0) return void (await world.addSubscriber(`subscriber ${index}`, own))
    await Bun.sleep(own.between(0, writeMs))
    await world.addSubscriber(`late subscriber ${index}`, own, { fromSnapshot: true })
  })
  const joiningClients = each(plan.clients, async (index) => {
    const own = random.fork()
    await Bun.sleep(own.between(0, writeMs))
    await world.addClient(`client ${index}`, own)
  })
  const failing = plan.faults.map(async ({ kind, atMs }) => {
    const own = random.fork()
    await Bun.sleep(atMs)
    await faults[kind](world, own)
  })
  await Promise.all([...joining, ...joiningClients, ...failing, Bun.sleep(writeMs)])
  stopChanging()
  await world.stopWriters(writersDeadlineMs)
}

const each = (count: number, act: (index: number) => Promise<void>): Promise<void>[] =>
  Array.from({ length: count }, (_, index) => act(index))

/** A write reaches everyone in time in any case, and soon by Redis again. */
async function writeLast(
  { cluster: { listIds, instances }, recorder, expectAllKnown }: World,
  { insist }: Requests,
): Promise<number> {
  const took: number[] = []
  const healedEach: number[] = []
  const isLive = (): boolean =>
    took.length >= liveWrites && healedEach.slice(-liveWrites).every((healed) => healed === 0)
  const healedSoFar = async (): Promise<number> => {
    const all = await Promise.all(instances.map(({ url }) => scrape(`${url}/metrics`)))
    return sumOf(all.flat(), 'minimart_events_healed_total')
  }
  while (!isLive() && took.length < maxLastWrites) {
    const healedBefore = await healedSoFar()
    const begun = performance.now()
    for (const listId of listIds) {
      const [itemId, name] = [Bun.randomUUIDv7(), `last ${took.length}`]
      const write = recorder.begin({ kind: 'add', listId, itemId, name })
      const answer = await insist('POST', `/shopping-lists/${listId}/items`, { id: itemId, name })
      write.acknowledged = answer?.status === 201 || answer?.status === 200
    }
    await expectAllKnown(lastDeadlineMs)
    took.push(performance.now() - begun)
    healedEach.push((await healedSoFar()) - healedBefore)
  }
  if (!isLive()) recorder.problem(`events are still read from the database: ${healedEach.join(', ')}`)
  return Math.max(...took)
}

/** Now and then a subscriber reconnects, or unsubscribes from a list and subscribes again. */
function changeSubscribers(subscribers: readonly Subscriber[], random: Random): () => void {
  let timer: Timer
  const act = (): void => {
    const [first, ...others] = subscribers
    const subscriber = first && random.pick([first, ...others])
    const [listId, ...more] = subscriber?.replicas.keys() ?? []
    if (random.chance(0.3)) subscriber?.hop()
    else if (listId) subscriber?.pause(random.pick([listId, ...more]))
    timer = setTimeout(act, random.between(50, 400))
  }
  timer = setTimeout(act, 200)
  return () => clearTimeout(timer)
}
