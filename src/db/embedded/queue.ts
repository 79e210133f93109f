/**
 * The order of calls on the one session of an embedded database. Adjacent writes run as a batch, so that they share one
 * commit and its fsync; every other job runs alone.
 */
import { setImmediate } from 'node:timers/promises'

export type Job<Write> =
  | { readonly write: Write }
  /** Never rejects. */
  | { readonly alone: () => Promise<void> }

export interface EmbeddedQueue<Write> {
  add(job: Job<Write>): void
  /** Adds it before those that wait. */
  addFirst(job: Job<Write>): void
  /** @returns whether the job was still waiting */
  remove(job: Job<Write>): boolean
  /** Jobs that wait. */
  readonly length: number
  /** Resolves once everything added before has run. */
  drained(): Promise<void>
}

const maxBatch = 32
/** Statements block the event loop; it gets to run this often. */
const yieldEveryMs = 8

/** @param runWrites runs one or more writes in one transaction; never rejects */
export function createEmbeddedQueue<Write>(
  runWrites: (writes: Write[]) => Promise<void>,
): EmbeddedQueue<Write> {
  const waiting: Job<Write>[] = []
  let running: Promise<void> | undefined

  const runAll = async (): Promise<void> => {
    let yieldAt = performance.now() + yieldEveryMs
    while (waiting.length > 0) {
      const writes = takeWrites(waiting)
      if (writes.length > 0) await runWrites(writes)
      else await runAlone(waiting.shift())
      if (performance.now() < yieldAt) continue
      await setImmediate()
      yieldAt = performance.now() + yieldEveryMs
    }
    running = undefined
  }

  /** Deferred, so that writes added in the same step share a batch. */
  const start = (): void => {
    running ??= Promise.resolve().then(runAll)
  }

  return {
    add: (job) => {
      waiting.push(job)
      start()
    },
    addFirst: (job) => {
      waiting.unshift(job)
      start()
    },
    remove: (job) => {
      const index = waiting.indexOf(job)
      if (index >= 0) waiting.splice(index, 1)
      return index >= 0
    },
    get length() {
      return waiting.length
    },
    drained: async () => {
      await running
    },
  }
}

/** The writes at the head of the queue; none when it starts with another job. */
function takeWrites<Write>(waiting: Job<Write>[]): Write[] {
  const writes: Write[] = []
  for (const job of waiting) {
    if (!('write' in job) || writes.length === maxBatch) break
    writes.push(job.write)
  }
  waiting.splice(0, writes.length)
  return writes
}

const runAlone = async <Write>(job: Job<Write> | undefined): Promise<void> => {
  if (job !== undefined && 'alone' in job) await job.alone()
}
