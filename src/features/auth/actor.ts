export type Role = 'super_admin' | 'tenant_admin' | 'member'

/** Who is calling, as the access token says. */
export interface Actor {
  readonly userId: string
  /** The platform's own tenant for a super admin. */
  readonly tenantId: string
  readonly role: Role
  readonly sessionId: string
}
