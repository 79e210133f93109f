export type Role = 'super_admin' | 'tenant_admin' | 'member'

/** Who is calling, as the access token says. */
export interface Actor {
  readonly userId: string
  /** The platform's own tenant for a super admin. */
  readonly tenantId: string
  readonly role: Role
  readonly sessionId: string
}

/** Where a call comes from, for the audit trail. Nulls: from the service itself, or its operator's command line. */
export interface Source {
  readonly address: string | null
  readonly requestId: string | null
}

export const fromWithin: Source = { address: null, requestId: null }

/** An actor and the call he makes. */
export interface Caller extends Actor, Source {}
