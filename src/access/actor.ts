export type Role = 'super_admin' | 'tenant_admin' | 'member'

/** Who is calling, by their access token. */
export interface Actor {
  readonly userId: string
  /** The platform's own tenant for a super admin. */
  readonly tenantId: string
  readonly role: Role
  readonly sessionId: string
}

/** Where a call comes from, for the audit trail. Nulls: the service itself, or its operator's command line. */
export interface Source {
  readonly address: string | null
  readonly requestId: string | null
  /** Whether the caller chose the request id, which may then be another request's. */
  readonly choseRequestId?: boolean
}

export const internalSource: Source = { address: null, requestId: null }

/** A call with an `Idempotency-Key`: what tells its repeat from another call with the same key. */
export interface KeyedCall {
  /** A UUIDv7 in lower case. */
  readonly key: string
  readonly method: string
  readonly path: string
  /** SHA-256 in hex. */
  readonly bodyHash: string
}

/** An actor and the call they make. */
export interface Caller extends Actor, Source {
  readonly keyed: KeyedCall | null
}
