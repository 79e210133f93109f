/** Everyone taking part in a round, and what they know. */
import { isRecord } from '../../support/json-schema.ts'
import { until } from '../../support/until.ts'
import { startClientSubscriber } from './client-subscriber.ts'
import { balance, type Cluster } from './cluster.ts'
import type { Random } from './random.ts'
import type { Recorder } from './recorder.ts'
import type { Snapshot } from './replica.ts'
import { createRequests, type Requests } from './requests.ts'
import { type Subscriber, startSubscriber } from './subscriber.ts'
import { startWriter, type Writer } from './writer.ts'

export interface SubscriberSettings {
  /** Instead of the balancer. */
  route?: () => string
  silenceTimeoutMs?: number
  /** Starts from the API's current state instead of the lists' creation. */
  fromSnapshot?: boolean
}

export interface World {
  readonly cluster: Cluster
  readonly recorder: Recorder
  readonly subscribers: readonly Subscriber[]
  /** Returns a route that picks an instance for each request. */
  balanced(random: Random): () => string
  requests(random: Random, route?: () => string): Requests
  /** Subscribes to all lists. */
  addSubscriber(name: string, random: Random, settings?: SubscriberSettings): Promise<Subscriber>
  /** The service's own client, subscribed to all lists. */
  addClient(name: string, random: Random): Promise<Subscriber>
  addWriter(name: string, random: Random, settings?: { route?: () => string; pauseMs?: number }): void
  stopWriters(deadlineMs: number): Promise<void>
  /** @returns the number of events @throws Error naming who is behind at the deadline */
  expectAllKnown(deadlineMs: number): Promise<number>
  /** Compares everyone's state with the API. */
  compare(): Promise<void>
  /** Runs at the end of the round, whatever its result. */
  onEnd(work: () => void): void
  end(): void
}

/** @param random for reading the API's state; everyone else brings their own */
export function createWorld(cluster: Cluster, recorder: Recorder, random: Random): World {
  const { listIds, people } = cluster
  const subscribers: Subscriber[] = []
  const writers: Writer[] = []
  const endings: (() => void)[] = []
  const { problem } = recorder

  /** Round-robin, so that each kind of user takes part. */
  const tokenOf = (index: number): string => people[index % people.length]?.accessToken ?? ''
  const balanced = (own: Random): (() => string) => balance(cluster, own.fork())
  const requests = (own: Random, route = balanced(own)): Requests =>
    createRequests({ token: tokenOf(0), route, random: own, recorder })
  const reader = requests(random)

  const readAll = async (): Promise<Map<string, Snapshot>> => {
    const snapshots = await Promise.all(listIds.map((listId) => readSnapshot(reader, listId)))
    return new Map(snapshots.map((snapshot) => [snapshot.listId, snapshot]))
  }
  const joined = (subscriber: Subscriber): Subscriber => {
    subscribers.push(subscriber)
    return subscriber
  }

  return {
    cluster,
    recorder,
    subscribers,
    balanced,
    requests,
    async addSubscriber(name, own, { route = balanced(own), silenceTimeoutMs, fromSnapshot = false } = {}) {
      const lists = fromSnapshot ? await readAll() : new Map(listIds.map((listId) => [listId, null]))
      const token = tokenOf(subscribers.length)
      const timeout = silenceTimeoutMs === undefined ? {} : { silenceTimeoutMs }
      return joined(startSubscriber({ name, token, route, random: own, lists, problem, ...timeout }))
    },
    async addClient(name, own) {
      const [person] = people
      const [route, { user }] = [balanced(own), cluster]
      const options = { name, person, user, route, random: own.next, listIds, problem }
      return joined(await startClientSubscriber(options))
    },
    addWriter(name, own, { route = balanced(own), ...pause } = {}) {
      const token = tokenOf(writers.length)
      writers.push(startWriter({ name, token, route, listIds, random: own, recorder, ...pause }))
    },
    async stopWriters(deadlineMs) {
      await Promise.all(writers.map((writer) => writer.stop(deadlineMs)))
    },
    async expectAllKnown(deadlineMs) {
      const truth = await readAll()
      const behind = (): string[] => subscribers.flatMap((subscriber) => lagOf(subscriber, truth))
      await until(() => behind().length === 0, 'everyone knowing everything', deadlineMs).catch(() => {
        throw new Error(`after ${deadlineMs} ms: ${behind().join('; ')}`)
      })
      return [...truth.values()].reduce((sum, { seq }) => sum + seq, 0)
    },
    async compare() {
      const truth = await readAll()
      for (const { name, replicas } of subscribers)
        for (const [listId, replica] of replicas) {
          const snapshot = truth.get(listId)
          const differences = snapshot ? replica.differences(snapshot) : ['a list that is gone']
          for (const difference of differences) problem(`${name}, ${listId}: ${difference}`)
        }
    },
    onEnd: (work) => void endings.push(work),
    end() {
      for (const ending of endings) ending()
      for (const subscriber of subscribers) subscriber.stop()
      for (const writer of writers) void writer.stop(0)
    },
  }
}

const lagOf = ({ name, replicas }: Subscriber, truth: ReadonlyMap<string, Snapshot>): string[] =>
  [...replicas.values()]
    .filter(({ listId, seq }) => seq() !== truth.get(listId)?.seq)
    .map(({ listId, seq }) => `${name} is at ${seq()} of ${truth.get(listId)?.seq} in ${listId}`)

async function readSnapshot({ insist }: Requests, listId: string): Promise<Snapshot & { listId: string }> {
  const answer = await insist('GET', `/shopping-lists/${listId}`)
  const { seq, name, items } = answer?.body ?? {}
  if (typeof seq !== 'number' || typeof name !== 'string' || !Array.isArray(items))
    throw new Error(`list ${listId} could not be read: ${answer?.status}`)
  return { listId, seq, name, items: items.filter(isRecord) }
}
