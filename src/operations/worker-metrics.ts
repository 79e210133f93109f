/**
 * Metrics with WORKERS over 1: a scrape may reach any worker and gets the metrics of all, set apart by the label
 * `worker`. The scraped worker asks the parent process, which collects from every worker and merges.
 */
import pTimeout from 'p-timeout'
import { AggregatorRegistry } from 'prom-client'
import type { Logger } from '../log.ts'
import type { MetricFamilies } from './metrics.ts'

/** Between worker and parent; other messages on the same channel are not ours. */
type Message =
  /** Worker to parent: the metrics of all workers, please. */
  | { metrics: 'ask'; id: number }
  /** Parent to worker: your own metrics, please. */
  | { metrics: 'collect'; id: number }
  | { metrics: 'collected'; id: number; families: MetricFamilies }
  | { metrics: 'answer'; id: number; text: string }

export type Send = (message: Message) => void

/** A worker that takes longer is missing from this scrape. Longer than readiness takes when its backends hang. */
const collectTimeoutMs = 3000
/** The parent lives as long as its workers, but may be slow. */
const answerTimeoutMs = 4000

const isMessage = (message: unknown): message is Message =>
  typeof message === 'object' && message !== null && 'metrics' in message && 'id' in message

/** Matches answers to requests by id. */
function createRequests<Answer>() {
  const pending = new Map<number, (answer: Answer) => void>()
  let count = 0
  return {
    /** Resolves to `fallback` after `timeoutMs`, or when `send` throws because the other process has exited. */
    async request(
      send: (id: number) => void,
      { timeoutMs, fallback }: { timeoutMs: number; fallback: Answer },
    ): Promise<Answer> {
      const id = ++count
      const { promise, resolve } = Promise.withResolvers<Answer>()
      pending.set(id, resolve)
      try {
        send(id)
        return await pTimeout(promise, { milliseconds: timeoutMs, fallback: () => fallback })
      } catch {
        return fallback
      } finally {
        pending.delete(id)
      }
    },
    resolve: (id: number, answer: Answer): void => pending.get(id)?.(answer),
  }
}

export interface WorkerEnd {
  receive(message: unknown): void
  /** Prometheus text of all workers; of this one alone when the parent does not answer. */
  gather(): Promise<string>
}

export function createWorkerEnd(
  own: { families(): Promise<MetricFamilies>; text(): Promise<string> },
  send: Send,
  log: Logger,
): WorkerEnd {
  const requests = createRequests<string | null>()
  return {
    receive(message) {
      if (!isMessage(message)) return
      if (message.metrics === 'answer') requests.resolve(message.id, message.text)
      else if (message.metrics === 'collect')
        void own
          .families()
          .then((families) => send({ metrics: 'collected', id: message.id, families }))
          .catch(logFailure(log))
    },
    async gather() {
      const ask = (id: number): void => send({ metrics: 'ask', id })
      return (await requests.request(ask, { timeoutMs: answerTimeoutMs, fallback: null })) ?? own.text()
    },
  }
}

export interface ParentEnd {
  /** @param worker its number, from 1 */
  add(worker: number, send: Send): void
  remove(worker: number): void
  receive(worker: number, message: unknown): void
  gather(): Promise<string>
}

export function createParentEnd(log: Logger): ParentEnd {
  const workers = new Map<number, Send>()
  const requests = createRequests<MetricFamilies>()
  const gather = async (): Promise<string> => {
    const all = await Promise.all(
      [...workers].map(async ([worker, send]) => {
        const collect = (id: number): void => send({ metrics: 'collect', id })
        const families = await requests.request(collect, { timeoutMs: collectTimeoutMs, fallback: [] })
        return families.map((family) => labelled(family, worker))
      }),
    )
    return AggregatorRegistry.aggregate(all).metrics()
  }
  return {
    add: (worker, send) => void workers.set(worker, send),
    remove: (worker) => void workers.delete(worker),
    receive(worker, message) {
      if (!isMessage(message)) return
      if (message.metrics === 'collected') requests.resolve(message.id, message.families)
      else if (message.metrics === 'ask')
        void gather()
          // The worker may have exited meanwhile.
          .then((text) => workers.get(worker)?.({ metrics: 'answer', id: message.id, text }))
          .catch(logFailure(log))
    },
    gather,
  }
}

/** The asker times out and goes on; an unhandled rejection would end the process. */
const logFailure =
  (log: Logger) =>
  (error: unknown): void =>
    log.error('metrics could not be collected', { error })

const labelled = (family: MetricFamilies[number], worker: number): MetricFamilies[number] => ({
  ...family,
  values: family.values.map((value) => ({ ...value, labels: { worker, ...value.labels } })),
})
