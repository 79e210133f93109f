/** A refused field: its path in the body (`items.17.quantity`) and what is expected. */
export interface FieldError {
  field: string
  message: string
}

export interface ErrorDetails {
  requestId?: string | null
  errors?: readonly FieldError[]
  current?: unknown
  retryAfterMs?: number | null
  cause?: unknown
}

/**
 * What every call rejects with. `code` is the API's stable code, or one of this client's own: `network_error` (no
 * answer, status 0), `signed_out` (not signed in, or the session has ended, status 401) or `unexpected_answer` (not
 * from this API, such as a proxy's error page).
 */
export class MiniMartError extends Error {
  override readonly name = 'MiniMartError'
  /** To quote to the operator. Null without an answer. */
  readonly requestId: string | null
  /** For `invalid`: the refused fields. */
  readonly errors: readonly FieldError[]
  /** For `version_mismatch`: the current representation. */
  readonly current: unknown
  /** From `Retry-After`. */
  readonly retryAfterMs: number | null

  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    details: ErrorDetails = {},
  ) {
    super(`${code}: ${detail}`, details.cause === undefined ? undefined : { cause: details.cause })
    this.requestId = details.requestId ?? null
    this.errors = details.errors ?? []
    this.current = details.current
    this.retryAfterMs = details.retryAfterMs ?? null
  }
}

export const signedOutError = (detail = 'Not signed in.'): MiniMartError =>
  new MiniMartError(401, 'signed_out', detail)

export const isMiniMartError = (error: unknown): error is MiniMartError => error instanceof MiniMartError
