/** One refused field: its path on the wire (`items.17.quantity`) and what is expected of it. */
export interface FieldFault {
  field: string
  message: string
}

export interface ErrorDetails {
  requestId?: string | null
  errors?: readonly FieldFault[]
  current?: unknown
  retryAfterMs?: number | null
  cause?: unknown
}

/**
 * What every call fails with. `code` is the API's stable word, or one of this client's own:
 * `network_error` (no answer; status 0), `signed_out` (nobody is signed in, or the session has ended; status 401),
 * `unexpected_answer` (not from this API, like a proxy's error page).
 */
export class MiniMartError extends Error {
  override readonly name = 'MiniMartError'
  /** To be told to whoever runs the service. Null where there was no answer. */
  readonly requestId: string | null
  /** For `invalid`: what is wrong with which field. */
  readonly errors: readonly FieldFault[]
  /** For `version_mismatch`: the thing as it is now. */
  readonly current: unknown
  /** How long the server asks to wait before trying again. */
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

export const signedOutError = (detail = 'Nobody is signed in.'): MiniMartError =>
  new MiniMartError(401, 'signed_out', detail)

export const isMiniMartError = (error: unknown): error is MiniMartError => error instanceof MiniMartError
