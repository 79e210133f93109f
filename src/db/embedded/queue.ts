/**
 * The order of calls on the one session of an embedded database. Writes that wait behind one another are handed out
 * together, so that they can share one commit and its fsync; everything else is handed out alone.
 */
import { databaseBusy } from '../errors.ts'

export type Job<Write> =
  | { readonly write: Write }
  /** Never rejects. */
  | { readonly alone: () => Promise<void> }

export interface EmbeddedQueue<Write> {
  /** @throws AppError `busy` when too many jobs wait */
  add(job: Job<Write>): void
  /** Answers whether the job was still waiting. */
  remove(job: Job<Write>): boolean
  readonly length: number
  /** Once everything added before has run. */
  drained(): Promise<void>
}

const maxWaiting = 1000
const maxTogether = 32
/** Statements run inside the event loop; this often it is left to others. */
const turnMs = 8

/** @param runWrites runs one or more writes in one transaction; never rejects */
export function createEmbeddedQueue<Write>(
  runWrites: (writes: Write[]) => Promise<void>,
): EmbeddedQueue<Write> {
  const waiting: Job<Write>[] = []
  let running: Promise<void> | undefined

  const runAll = async (): Promise<void> => {
    let turnEnds = performance.now() + turnMs
    while (waiting.length > 0) {
      const writes = takeWrites(waiting)
      if (writes.length > 0) await runWrites(writes)
      else await runAlone(waiting.shift())
      if (performance.now() < turnEnds) continue
      await new Promise((resolve) => setImmediate(resolve))
      turnEnds = performance.now() + turnMs
    }
    running = undefined
  }

  return {
    add: (job) => {
      if (waiting.length >= maxWaiting) throw databaseBusy()
      waiting.push(job)
      // Those that are added in the same step are to be seen together.
      running ??= Promise.resolve().then(runAll)
    },
    remove: (job) => {
      const place = waiting.indexOf(job)
      if (place >= 0) waiting.splice(place, 1)
      return place >= 0
    },
    get length() {
      return waiting.length
    },
    drained: async () => {
      await running
    },
  }
}

/** Those at the head of the queue; none where another job stands there. */
function takeWrites<Write>(waiting: Job<Write>[]): Write[] {
  const writes: Write[] = []
  for (const job of waiting) {
    if (!('write' in job) || writes.length === maxTogether) break
    writes.push(job.write)
  }
  waiting.splice(0, writes.length)
  return writes
}

const runAlone = async <Write>(job: Job<Write> | undefined): Promise<void> => {
  if (job !== undefined && 'alone' in job) await job.alone()
}
