/** The API's types, derived from the server's schemas. Only types are imported, so nothing of the server is bundled. */
import type { Static } from '@sinclair/typebox'
import type * as auth from '../features/auth/model.ts'
import type * as invitations from '../features/invitations/model.ts'
import type * as items from '../features/items/model.ts'
import type * as lists from '../features/lists/model.ts'
import type * as tenants from '../features/tenants/model.ts'
import type * as users from '../features/users/model.ts'

/** A UUID in lower case. */
export type Id = string
/**
 * An event of a list by its number and a mark, like `42.9f3ac01b`; `0` before the first. Unlike the number it tells a
 * history from another that was restored in its place.
 */
export type HistoryPosition = string
/** RFC 3339, UTC, with milliseconds. */
export type Time = string

export interface Page<T> {
  data: T[]
  /** Null on the last page. */
  next_cursor: string | null
}

export interface PageQuery {
  /** 1 to 100; 50 by default. */
  limit?: number
  /** The `next_cursor` of the page before. */
  cursor?: string
}

export type User = Static<typeof auth.User>
export type UserRole = User['role']
export type ProfileChange = Static<typeof auth.ProfileChange>
/** `expires_in` is in seconds. */
export type Tokens = Static<typeof auth.Tokens>
/** A signed-in device. */
export type Session = Static<typeof auth.SessionView>

/** What members who are not admins see of each other. */
export type Colleague = Static<typeof users.Colleague>
export type NewUser = Static<typeof users.NewUser>
export type UserChange = Static<typeof users.UserChange>

export type Tenant = Static<typeof tenants.Tenant>
export type CreatedTenant = Static<typeof tenants.CreatedTenant>
export type TenantDetail = Static<typeof tenants.TenantDetail>
export type NewTenant = Static<typeof tenants.NewTenant>
export type TenantChange = Static<typeof tenants.TenantChange>

export type List = Static<typeof lists.List>
export type ListSummary = Static<typeof lists.ListSummary>
export type ListDetail = Static<typeof lists.ListDetail>
/** The caller's role on a list; `tenant_admin` for an admin who is not a member. */
export type ListRole = ListSummary['role']
export type NewList = Static<typeof lists.NewList>
export type ListFieldsChange = Static<typeof lists.ListFieldsChange>
export type Member = Static<typeof lists.Member>
export type MemberRole = Member['role']

export type Item = Static<typeof items.Item>
export type ItemStatus = Item['status']
export type NewItem = Static<typeof items.NewItem>
export type ItemChange = Static<typeof items.ItemChange>

export type Invitation = Static<typeof invitations.Invitation>
export type InvitationPreview = Static<typeof invitations.InvitationPreview>
