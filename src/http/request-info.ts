import type { Actor, Source } from '../access/actor.ts'
import type { RequestSpan } from '../tracing/tracing.ts'

/** What is known about a running request, for the log, the metrics and the errors. */
export interface RequestInfo {
  readonly id: string
  /** Whether the caller chose it. */
  readonly isGivenId: boolean
  /** Milliseconds, monotonic. */
  readonly startedAt: number
  /** The caller's address; what a proxy says of it counts only where TRUST_PROXY allows it. */
  readonly address: string
  /** Sent with the answer, whatever it is. Names in lower case. */
  readonly answerHeaders: Record<string, string | number>
  actor: Actor | null
  /** Null where nothing is traced. */
  readonly span: RequestSpan | null
}

const known = new WeakMap<Request, RequestInfo>()

export const rememberRequest = (request: Request, info: RequestInfo): void => {
  known.set(request, info)
}

/** @throws Error for a request that did not pass http/observe.ts: a bug */
export function requestInfo(request: Request): RequestInfo {
  const info = known.get(request)
  if (!info) throw new Error('a request without request info')
  return info
}

/** For the audit trail. */
export const sourceOf = (request: Request): Source => {
  const { address, id, isGivenId } = requestInfo(request)
  return { address, requestId: id, choseRequestId: isGivenId }
}
