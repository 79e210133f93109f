import { type ErrorDetails, type FieldError, MiniMartError } from './error.ts'

/** The part of `fetch` that is used. */
export type Fetch = (
  url: string,
  init: { method: string; headers: Record<string, string>; body?: string; signal: AbortSignal },
) => Promise<FetchAnswer>

export interface FetchAnswer {
  readonly ok: boolean
  readonly status: number
  readonly headers: { get(name: string): string | null }
  text(): Promise<string>
}

export interface Request {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Below /api/v1, with a leading slash. */
  path: string
  query?: object | undefined
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  /** Until the whole answer has arrived. */
  timeoutMs: number
}

export interface Transport {
  /**
   * Resolves with the parsed body; undefined without one.
   * @throws MiniMartError, or the reason of `signal` when it aborted
   */
  send<T>(request: Request): Promise<T>
}

/** @param baseUrl such as `https://shop.example`, with or without a trailing slash */
export function createTransport(baseUrl: string, fetch: Fetch): Transport {
  const api = `${baseUrl.replace(/\/+$/, '')}/api/v1`
  return {
    async send<T>(request: Request): Promise<T> {
      const { answer, text } = await exchange(
        fetch,
        `${api}${request.path}${queryOf(request.query)}`,
        request,
      )
      if (!answer.ok) throw problemOf(answer, text)
      return parse<T>(answer.status, text)
    },
  }
}

async function exchange(fetch: Fetch, url: string, { method, body, headers, signal, timeoutMs }: Request) {
  const timeout = AbortSignal.timeout(timeoutMs)
  try {
    const answer = await fetch(url, {
      method,
      headers: { accept: 'application/json', ...(body === undefined ? {} : json), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    })
    return { answer, text: await answer.text() }
  } catch (cause) {
    signal?.throwIfAborted()
    throw new MiniMartError(0, 'network_error', 'The service could not be reached.', { cause })
  }
}

const json = { 'content-type': 'application/json' }

function queryOf(query: object | undefined): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {}))
    if (value !== undefined) parameters.set(name, String(value))
  const text = parameters.toString()
  return text && `?${text}`
}

function parse<T>(status: number, text: string): T {
  try {
    const value: T = text === '' ? undefined : JSON.parse(text)
    return value
  } catch (cause) {
    throw new MiniMartError(status, 'unexpected_answer', 'The answer is not JSON.', { cause })
  }
}

function problemOf({ status, headers }: FetchAnswer, text: string): MiniMartError {
  const problem = recordOf(text)
  const details: ErrorDetails = {
    requestId: textOf(problem['request_id']) ?? headers.get('x-request-id'),
    errors: Array.isArray(problem['errors']) ? problem['errors'].filter(isFieldError) : [],
    current: problem['current'],
    retryAfterMs: retryAfterOf(headers.get('retry-after')),
  }
  const code = textOf(problem['code']) ?? 'unexpected_answer'
  return new MiniMartError(status, code, textOf(problem['detail']) ?? `The answer was ${status}.`, details)
}

function recordOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)

const isFieldError = (value: unknown): value is FieldError =>
  typeof value === 'object' && value !== null && 'field' in value && 'message' in value

/** In seconds, or a date from a proxy (RFC 9110, section 10.2.3). */
function retryAfterOf(header: string | null): number | null {
  if (header === null) return null
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : null
}
