import { isMiniMartError, type MiniMartError } from './error.ts'
import type { AuthSession } from './session.ts'
import { backoffMs, sleep } from './timing.ts'
import type { Request, Transport } from './transport.ts'

export interface CallOptions {
  signal?: AbortSignal
  /** For `If-Match`: a version, or `seq-42` for "nothing on the list has changed". */
  ifMatch?: number | string
  /**
   * Whether to retry when there was no answer or the service was unavailable. By default only idempotent calls are:
   * reads, deletes, and creations, as the client chooses the ids.
   */
  retry?: boolean
}

export interface Call extends CallOptions {
  method: Request['method']
  path: string
  query?: object
  body?: unknown
  /** Sent without a token. */
  anonymous?: boolean
}

export type Http = <T>(call: Call) => Promise<T>

export interface HttpDeps {
  transport: Transport
  session: Pick<AuthSession, 'accessToken'>
  random: () => number
  timeoutMs: number
  retries: { times: number; firstMs: number; maxMs: number; maxRetryAfterMs: number }
}

/**
 * Sends calls with an access token, again with a newer one when it is refused, and retries where that is safe.
 * @throws MiniMartError
 */
export function createHttp({ transport, session, random, timeoutMs, retries }: HttpDeps): Http {
  return async <T>(call: Call): Promise<T> => {
    const { method, path, query, body, signal, ifMatch } = call
    const repeatable = call.retry ?? (method === 'GET' || method === 'DELETE')
    let refused: string | null = null
    for (let attempt = 0; ; ) {
      const token: string | null = call.anonymous
        ? null
        : await session.accessToken(refused === null ? {} : { not: refused })
      const headers = {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(ifMatch === undefined ? {} : { 'if-match': `"${ifMatch}"` }),
      }
      try {
        return await transport.send<T>({ method, path, query, body, headers, signal, timeoutMs })
      } catch (error) {
        if (!isMiniMartError(error)) throw error
        if (error.status === 401 && token !== null && refused === null) {
          refused = token
          continue
        }
        const pauseMs = Math.max(backoffMs(attempt, { ...retries, random }), error.retryAfterMs ?? 0)
        attempt++
        if (
          !repeatable ||
          !isTransient(error) ||
          attempt > retries.times ||
          pauseMs > retries.maxRetryAfterMs
        )
          throw error
        await sleep(pauseMs, signal)
      }
    }
  }
}

const isTransient = ({ status }: MiniMartError): boolean => status === 0 || status === 429 || status === 503
