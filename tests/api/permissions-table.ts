/** CONTRACT section 2 and what follows from it: for every route, who gets which status. */
import type { Person } from '../support/people.ts'

/** `outsider`: of the same tenant, not on the list. `stranger`, `other_admin`: of another tenant. */
export const everyone = [
  'super_admin',
  'tenant_admin',
  'owner',
  'editor',
  'viewer',
  'outsider',
  'stranger',
  'other_admin',
] as const
export type Who = (typeof everyone)[number]

/** What a route is called on, made anew for each caller. */
export interface Target {
  tenantId: string
  userId: string
  listId: string
  itemId: string
  viewer: Person
  outsider: Person
  /** Of an invitation of the outsider. */
  invitation: string
  freshEmail: () => string
}

export interface Rule {
  statuses: Record<Who, number>
  body?: (target: Target, who: Who) => object
  /** Fills the path; without it `:id` is the list, and on item routes the item. */
  params?: (target: Target) => Record<string, string>
  /** What must have happened to the target before. */
  given?: 'deleted list' | 'spare tenant' | 'spare user' | 'invitation'
}

const all = (status: number): Record<Who, number> => ({
  super_admin: status,
  tenant_admin: status,
  owner: status,
  editor: status,
  viewer: status,
  outsider: status,
  stranger: status,
  other_admin: status,
})

const superAdminOnly = (status: number) => ({ ...all(403), super_admin: status })
const customers = (status: number) => ({ ...all(status), super_admin: 403 })
const tenantAdmins = (status: number, elsewhere: number) => ({
  ...all(403),
  tenant_admin: status,
  other_admin: elsewhere,
})
const unseen = { outsider: 404, stranger: 404, other_admin: 404 }
const readers = (status: number) => ({ ...customers(status), ...unseen })
const writers = (status: number) => ({ ...readers(status), viewer: 403 })
const managers = (status: number) => ({ ...writers(status), editor: 403 })

const user = ({ userId }: Target) => ({ id: userId })
const tenant = ({ tenantId }: Target) => ({ id: tenantId })
const viewer = ({ listId, viewer: { id } }: Target) => ({ id: listId, user_id: id })
const password = 'a passphrase for the table'
const noId = () => ({ id: '01890000-0000-7000-8000-000000000000' })

export const table: Record<string, Rule> = {
  'GET /api/v1/auth/me': { statuses: all(200) },
  'PATCH /api/v1/auth/me': { statuses: all(200), body: () => ({ full_name: 'Someone' }) },
  'POST /api/v1/auth/change-password': {
    statuses: all(400),
    body: () => ({ current_password: 'a wrong one', new_password: password }),
  },
  'GET /api/v1/auth/sessions': { statuses: all(200) },
  'DELETE /api/v1/auth/sessions/:id': { statuses: all(404), params: noId },
  'POST /api/v1/auth/logout': { statuses: all(204) },

  'POST /api/v1/tenants': {
    statuses: superAdminOnly(201),
    body: ({ freshEmail }) => ({
      name: 'Made for the table',
      admin: { email: freshEmail(), full_name: 'An admin', password },
    }),
  },
  'GET /api/v1/tenants': { statuses: superAdminOnly(200) },
  'GET /api/v1/tenants/:id': { statuses: superAdminOnly(200), params: tenant },
  'PATCH /api/v1/tenants/:id': {
    statuses: superAdminOnly(200),
    params: tenant,
    body: (_, who) => ({ name: `Named by ${who}` }),
    given: 'spare tenant',
  },
  'DELETE /api/v1/tenants/:id': { statuses: superAdminOnly(204), params: tenant, given: 'spare tenant' },

  'GET /api/v1/audit': { statuses: { ...all(403), super_admin: 200, tenant_admin: 200, other_admin: 200 } },

  'GET /api/v1/users': { statuses: customers(200) },
  'GET /api/v1/users/:id': {
    statuses: { ...customers(200), stranger: 404, other_admin: 404 },
    params: ({ outsider: { id } }) => ({ id }),
  },
  'POST /api/v1/users': {
    statuses: tenantAdmins(201, 201),
    body: ({ freshEmail }) => ({ email: freshEmail(), full_name: 'New', password }),
  },
  'PATCH /api/v1/users/:id': {
    statuses: tenantAdmins(200, 404),
    params: user,
    body: (_, who) => ({ full_name: `Named by ${who}` }),
    given: 'spare user',
  },
  'DELETE /api/v1/users/:id': { statuses: tenantAdmins(204, 404), params: user, given: 'spare user' },

  'POST /api/v1/shopping-lists': { statuses: customers(201), body: () => ({ name: 'Own' }) },
  'GET /api/v1/shopping-lists': { statuses: customers(200) },
  'GET /api/v1/shopping-lists/:id': { statuses: readers(200) },
  'PATCH /api/v1/shopping-lists/:id': { statuses: managers(200), body: () => ({ name: 'Renamed' }) },
  'DELETE /api/v1/shopping-lists/:id': { statuses: managers(204) },
  'POST /api/v1/shopping-lists/:id/restore': {
    statuses: { ...managers(200), editor: 404, viewer: 404 },
    given: 'deleted list',
  },
  'GET /api/v1/shopping-lists/:id/events': { statuses: readers(200) },
  'GET /api/v1/shopping-lists/:id/members': { statuses: readers(200) },
  'PATCH /api/v1/shopping-lists/:id/members/:user_id': {
    statuses: managers(200),
    params: viewer,
    body: () => ({ role: 'editor' }),
  },
  // The member in the path is the viewer, who thereby leaves.
  'DELETE /api/v1/shopping-lists/:id/members/:user_id': {
    statuses: { ...managers(204), viewer: 204 },
    params: viewer,
  },
  'POST /api/v1/shopping-lists/:id/invite': {
    statuses: managers(201),
    body: ({ outsider }) => ({ email: outsider.email, role: 'viewer' }),
  },
  'POST /api/v1/invitations/accept': {
    statuses: { ...customers(403), outsider: 200 },
    body: ({ invitation }) => ({ token: invitation }),
    given: 'invitation',
  },
  'POST /api/v1/invitations/reject': {
    statuses: { ...customers(403), outsider: 204 },
    body: ({ invitation }) => ({ token: invitation }),
    given: 'invitation',
  },

  'POST /api/v1/shopping-lists/:id/items': { statuses: writers(201), body: () => ({ name: 'Bread' }) },
  'GET /api/v1/shopping-lists/:id/items': { statuses: readers(200) },
  'POST /api/v1/shopping-lists/:id/items/clear-purchased': { statuses: writers(200) },
  'PATCH /api/v1/items/:id': { statuses: writers(200), body: () => ({ name: 'Butter' }) },
  'DELETE /api/v1/items/:id': { statuses: writers(204) },
}

/** Routes for people who are not signed in, and the files behind the pages. */
const publicRoutes: readonly RegExp[] = [
  /^POST \/api\/v1\/auth\/(login|verify-email|resend-otp|refresh|forgot-password|reset-password)$/,
  /^POST \/api\/v1\/invitations\/preview$/,
  /^GET \/(healthz|readyz|metrics|docs|redoc|openapi\.json|asyncapi\.json|invite|reset-password)$/,
  /^GET \/(pages|docs|redoc)\/[\w./-]+$/,
  // Its token is in the query or the sub-protocol, and a bad one is told by close code 4001.
  /^(WS|GET) \/ws$/,
]

export const isPublic = (route: string): boolean => publicRoutes.some((pattern) => pattern.test(route))
