/**
 * The wire's shapes as a client sees them, written out so that nothing of the server is needed to use this folder.
 * tests/client/types.test.ts holds them against the server's schemas.
 */

/** UUID in lower case. */
export type Id = string
/** RFC 3339, UTC, with milliseconds. */
export type Time = string

export type UserRole = 'super_admin' | 'tenant_admin' | 'member'
export type MemberRole = 'owner' | 'editor' | 'viewer'
/** What the caller is on a list; `tenant_admin` where no member of it. */
export type ListRole = MemberRole | 'tenant_admin'
export type ItemStatus = 'pending' | 'purchased'

export interface Page<T> {
  data: T[]
  next_cursor: string | null
}

export interface PageQuery {
  /** 1 to 100, by default 50. */
  limit?: number
  /** A `next_cursor` as it was given. */
  cursor?: string
}

export interface User {
  id: Id
  tenant_id: Id | null
  email: string
  full_name: string
  role: UserRole
  is_active: boolean
  email_verified: boolean
  created_at: Time
  updated_at: Time
}

/** What members who are no admins see of each other. */
export interface Colleague {
  id: Id
  full_name: string
  email: string
}

export interface Tokens {
  access_token: string
  refresh_token: string
  token_type: 'Bearer'
  /** Seconds. */
  expires_in: number
  user: User
}

/** A signed-in device. */
export interface Session {
  id: Id
  current: boolean
  user_agent: string
  address: string
  created_at: Time
  last_used_at: Time
  expires_at: Time
}

export interface Tenant {
  id: Id
  name: string
  slug: string
  is_active: boolean
  created_at: Time
  updated_at: Time
}
export type CreatedTenant = Tenant & { admin: User }
export type TenantDetail = Tenant & { user_count: number; list_count: number }

export interface List {
  id: Id
  name: string
  description: string | null
  owner_id: Id
  seq: number
  version: number
  created_at: Time
  updated_at: Time
  deleted_at: Time | null
}
export type ListSummary = List & {
  role: ListRole
  item_count: number
  pending_count: number
  member_count: number
}
export type ListDetail = List & { role: ListRole; members: Member[]; items: Item[] }

export interface Member {
  user_id: Id
  full_name: string
  email: string
  role: MemberRole
  joined_at: Time
}

export interface Item {
  id: Id
  list_id: Id
  name: string
  quantity: number
  unit: string | null
  note: string | null
  category: string | null
  status: ItemStatus
  position: string
  added_by: Id
  updated_by: Id
  purchased_by: Id | null
  purchased_at: Time | null
  version: number
  created_at: Time
  updated_at: Time
}

export interface Invitation {
  list_id: Id
  email: string
  role: 'editor' | 'viewer'
  expires_at: Time
  token: string
  url: string
}
export type InvitationPreview = Omit<Invitation, 'token' | 'url'> & { list_name: string; invited_by: string }

export interface NewList {
  name: string
  description?: string | null
  id?: Id
}
export interface ListFieldsChange {
  name?: string
  description?: string | null
}

export interface NewItem {
  name: string
  quantity?: number
  unit?: string | null
  note?: string | null
  category?: string | null
  position?: string
  id?: Id
}
export type ItemChange = Partial<Omit<NewItem, 'id'>> & { status?: ItemStatus }

export interface NewUser {
  email: string
  full_name: string
  password: string
  role?: 'member' | 'tenant_admin'
}
export interface UserChange {
  full_name?: string
  role?: 'member' | 'tenant_admin'
  is_active?: boolean
}

export interface NewTenant {
  name: string
  slug?: string
  admin: { email: string; full_name: string; password: string }
}
export interface TenantChange {
  name?: string
  slug?: string
  is_active?: boolean
}
