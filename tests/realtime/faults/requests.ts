/** Requests repeated until they are answered: the instance, its database or the network may be down. */
import { isRecord } from '../../support/json-schema.ts'
import type { Random } from './random.ts'
import type { Recorder } from './recorder.ts'

export interface RequestOptions {
  token: string
  /** Where to send the next request. */
  route: () => string
  random: Random
  recorder: Recorder
}

export interface Answer {
  status: number
  body: Record<string, unknown>
}

export interface Requests {
  /** Null once given up. */
  insist(method: string, path: string, body?: unknown, ifMatch?: string | null): Promise<Answer | null>
  giveUpIn(ms: number): void
}

const requestTimeoutMs = 5000
const [minPauseMs, maxPauseMs] = [20, 150]

export function createRequests({ token, route, random, recorder }: RequestOptions): Requests {
  let giveUpAt = Number.POSITIVE_INFINITY

  const attempt = async (
    method: string,
    path: string,
    body: unknown,
    ifMatch: string | null,
  ): Promise<Answer | null> => {
    try {
      const response = await fetch(`${route()}/api/v1${path}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(ifMatch === null ? {} : { 'if-match': ifMatch }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        // Each on a new connection, so that nothing is retried without the recorder knowing.
        keepalive: false,
        signal: AbortSignal.timeout(requestTimeoutMs),
      })
      const text = await response.text()
      const answered: unknown = text === '' ? {} : JSON.parse(text)
      return { status: response.status, body: isRecord(answered) ? answered : {} }
    } catch {
      // No response, or a truncated one: it may or may not have happened.
      return null
    }
  }

  return {
    async insist(method, path, body, ifMatch = null) {
      for (;;) {
        const answer = await attempt(method, path, body, ifMatch)
        if (answer?.status === 500) recorder.problem(`${method} ${path} answered 500`)
        if (answer && answer.status < 500) return answer
        if (performance.now() > giveUpAt) return null
        recorder.retries++
        await Bun.sleep(random.between(minPauseMs, maxPauseMs))
      }
    },
    giveUpIn(ms) {
      giveUpAt = performance.now() + ms
    },
  }
}
