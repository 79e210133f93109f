/**
 * WORKERS over 1: whichever worker is asked for the figures, the answer has those of all, told apart by the label
 * `worker`. The worker asks the process that started it; that one asks every worker and puts the answers together.
 */
import { AggregatorRegistry, type Registry } from 'prom-client'
import type { Logger } from '../log.ts'

type Families = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

/** What goes over the line between the two processes; everything else on it is somebody else's. */
type Message =
  /** To the parent: tell all figures. */
  | { metrics: 'ask'; id: number }
  /** From the parent: tell yours. */
  | { metrics: 'collect'; id: number }
  | { metrics: 'collected'; id: number; families: Families }
  | { metrics: 'answer'; id: number; text: string }

export type Send = (message: Message) => void

/** A worker that is busy for longer is left out of this answer. Longer than readiness takes when what it asks is silent. */
const collectPatienceMs = 3000
/** The parent is there as long as its workers are, but may be slow. */
const answerPatienceMs = 4000

const isMessage = (message: unknown): message is Message =>
  typeof message === 'object' && message !== null && 'metrics' in message && 'id' in message

/** Promises that are settled by messages with their number, or by their deadline. */
function createWaiting<T>() {
  const waiting = new Map<number, (value: T) => void>()
  let count = 0
  return {
    wait(send: (id: number) => void, patienceMs: number, otherwise: T): Promise<T> {
      const id = ++count
      const { promise, resolve } = Promise.withResolvers<T>()
      const timer = setTimeout(() => resolve(otherwise), patienceMs)
      waiting.set(id, resolve)
      try {
        send(id)
      } catch {
        // The other side has just ended.
        resolve(otherwise)
      }
      return promise.finally(() => {
        clearTimeout(timer)
        waiting.delete(id)
      })
    },
    settle: (id: number, value: T): void => waiting.get(id)?.(value),
  }
}

export interface WorkerEnd {
  receive(message: unknown): void
  /** Of all workers; of this one alone where the parent does not answer. */
  gather(): Promise<string>
}

export function createWorkerEnd(
  own: { families(): Promise<Families>; text(): Promise<string> },
  send: Send,
  log: Logger,
): WorkerEnd {
  const asked = createWaiting<string | null>()
  return {
    receive(message) {
      if (!isMessage(message)) return
      if (message.metrics === 'answer') asked.settle(message.id, message.text)
      else if (message.metrics === 'collect')
        void own
          .families()
          .then((families) => send({ metrics: 'collected', id: message.id, families }))
          .catch(intoLog(log))
    },
    gather: async () =>
      (await asked.wait((id) => send({ metrics: 'ask', id }), answerPatienceMs, null)) ?? own.text(),
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
  const asked = createWaiting<Families>()
  const gather = async (): Promise<string> => {
    const all = await Promise.all(
      [...workers].map(async ([worker, send]) => {
        const families = await asked.wait((id) => send({ metrics: 'collect', id }), collectPatienceMs, [])
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
      if (message.metrics === 'collected') asked.settle(message.id, message.families)
      else if (message.metrics === 'ask')
        void gather()
          .then((text) => {
            // It may have ended meanwhile.
            workers.get(worker)?.({ metrics: 'answer', id: message.id, text })
          })
          .catch(intoLog(log))
    },
    gather,
  }
}

/** Who asked hears nothing and goes on without it in a moment; the process must not end for it. */
const intoLog =
  (log: Logger) =>
  (error: unknown): void =>
    log.error('metrics could not be told', { error })

const labelled = (family: Families[number], worker: number): Families[number] => ({
  ...family,
  values: family.values.map((value) => ({ ...value, labels: { worker, ...value.labels } })),
})
