/** The expected status of every route for every role: CONTRACT section 2, then the routes it does not cover. */
import type { Person } from '../../support/people.ts'
import { type Cells, type Column, rows, statusOfCell } from './contract.ts'

/** Roles the contract has no column for: `outsider` is in the tenant but not on the list, the others in another tenant. */
const beside = ['outsider', 'stranger', 'other_admin'] as const
type Beside = (typeof beside)[number]
const insiders = ['super_admin', 'tenant_admin', 'owner', 'editor', 'viewer'] as const
export const everyone = [...insiders, ...beside] as const
export type Who = (typeof everyone)[number]
export type Statuses = Record<Who, number>

/** What a route is called on; made again after a call that changes it. */
export interface Target {
  tenantId: string
  userId: string
  listId: string
  itemId: string
  editor: Person
  viewer: Person
  outsider: Person
  /** Token of an invitation for the outsider. */
  invitation: string
  freshEmail: () => string
}

export interface Call {
  body?: (target: Target, who: Who) => object
  /** Path parameters; by default `:id` is the list or, on item routes, the item. */
  params?: (target: Target, who: Who, caller: Person) => Record<string, string>
  /** State the target must be in. */
  given?: 'deleted list' | 'spare tenant' | 'spare user' | 'invitation'
}

interface Route extends Call {
  /** Status for allowed roles. */
  ok: number
  /** Overrides of the action's statuses. */
  but?: Partial<Statuses>
}

interface Action {
  /** Statuses of roles without a column; null where they are allowed. */
  others: Record<Beside, number | null>
  /** Statuses of roles with a dash; allowed when missing. */
  dashes?: Partial<Record<Column, number>>
  routes: Record<string, Route>
}

const hidden = { outsider: 404, stranger: 404, other_admin: 404 }
const anyCustomer = { outsider: 200, stranger: 200, other_admin: 200 }
const user = ({ userId }: Target) => ({ id: userId })
const tenant = ({ tenantId }: Target) => ({ id: tenantId })
const someoneElse = ({ listId, editor, viewer }: Target, who: Who) => ({
  id: listId,
  user_id: who === 'viewer' ? editor.id : viewer.id,
})
const password = 'a passphrase for the table'

/** Keyed by the contract's wording. */
export const actions: Record<string, Action> = {
  'Tenants: create, list, read, update, deactivate': {
    others: { outsider: 403, stranger: 403, other_admin: 403 },
    routes: {
      'POST /api/v1/tenants': {
        ok: 201,
        body: ({ freshEmail }) => ({
          name: 'Made for the table',
          admin: { email: freshEmail(), full_name: 'An admin', password },
        }),
      },
      'GET /api/v1/tenants': { ok: 200 },
      'GET /api/v1/tenants/:id': { ok: 200, params: tenant },
      'PATCH /api/v1/tenants/:id': {
        ok: 200,
        params: tenant,
        body: (_, who) => ({ name: `Named by ${who}` }),
        given: 'spare tenant',
      },
      'DELETE /api/v1/tenants/:id': { ok: 204, params: tenant, given: 'spare tenant' },
    },
  },
  'Users of a tenant: create, update, deactivate': {
    others: { outsider: 403, stranger: 403, other_admin: 404 },
    routes: {
      'POST /api/v1/users': {
        ok: 201,
        but: { other_admin: 201 },
        body: ({ freshEmail }) => ({ email: freshEmail(), full_name: 'New', password }),
      },
      'PATCH /api/v1/users/:id': {
        ok: 200,
        params: user,
        body: (_, who) => ({ full_name: `Named by ${who}` }),
        given: 'spare user',
      },
      'DELETE /api/v1/users/:id': { ok: 204, params: user, given: 'spare user' },
    },
  },
  'Users of a tenant: list': {
    others: { outsider: null, stranger: null, other_admin: null },
    routes: {
      'GET /api/v1/users': { ok: 200 },
      'GET /api/v1/users/:id': {
        ok: 200,
        but: { stranger: 404, other_admin: 404 },
        params: ({ outsider: { id } }) => ({ id }),
      },
    },
  },
  'Create a list': {
    others: { outsider: null, stranger: null, other_admin: null },
    routes: { 'POST /api/v1/shopping-lists': { ok: 201, body: () => ({ name: 'Own' }) } },
  },
  'See a list and its items, subscribe to it': {
    others: hidden,
    routes: {
      // Everyone gets a page; permissions.test.ts checks what is on it.
      'GET /api/v1/shopping-lists': { ok: 200, but: anyCustomer },
      'GET /api/v1/shopping-lists/:id': { ok: 200 },
      'GET /api/v1/shopping-lists/:id/events': { ok: 200 },
      'GET /api/v1/shopping-lists/:id/items': { ok: 200 },
      'GET /api/v1/shopping-lists/:id/members': { ok: 200 },
    },
  },
  'Rename, delete, restore a list; invite; remove members; change member roles': {
    others: hidden,
    routes: {
      'PATCH /api/v1/shopping-lists/:id': { ok: 200, body: () => ({ name: 'Renamed' }) },
      'DELETE /api/v1/shopping-lists/:id': { ok: 204 },
      // Section 5: a deleted list exists only for those who may restore it.
      'POST /api/v1/shopping-lists/:id/restore': {
        ok: 200,
        but: { editor: 404, viewer: 404 },
        given: 'deleted list',
      },
      'POST /api/v1/shopping-lists/:id/invite': {
        ok: 201,
        body: ({ outsider }) => ({ email: outsider.email, role: 'viewer' }),
      },
      'DELETE /api/v1/shopping-lists/:id/members/:user_id': { ok: 204, params: someoneElse },
      'PATCH /api/v1/shopping-lists/:id/members/:user_id': {
        ok: 200,
        params: someoneElse,
        body: () => ({ role: 'editor' }),
      },
    },
  },
  'Add, change, delete items': {
    others: hidden,
    routes: {
      'POST /api/v1/shopping-lists/:id/items': { ok: 201, body: () => ({ name: 'Bread' }) },
      'POST /api/v1/shopping-lists/:id/items/clear-purchased': { ok: 200 },
      'PATCH /api/v1/items/:id': { ok: 200, body: () => ({ name: 'Butter' }) },
      'DELETE /api/v1/items/:id': { ok: 204 },
    },
  },
  'Leave a list': {
    others: hidden,
    // Neither is a member, so neither can leave.
    dashes: { super_admin: 403, tenant_admin: 404 },
    routes: {
      'DELETE /api/v1/shopping-lists/:id/members/:user_id': {
        ok: 204,
        params: ({ listId }, _, { id }) => ({ id: listId, user_id: id }),
      },
    },
  },
}

const all = (status: number): Statuses => ({
  ...{ super_admin: status, tenant_admin: status, owner: status, editor: status, viewer: status },
  ...{ outsider: status, stranger: status, other_admin: status },
})
const onlyTheInvitee = (status: number): Statuses => ({ ...all(403), outsider: status })

/** Routes not in section 2: the caller's account (section 3), answering an invitation (section 5). */
const besideTheContract: Record<string, Call & { statuses: Statuses }> = {
  'GET /api/v1/auth/me': { statuses: all(200) },
  'PATCH /api/v1/auth/me': { statuses: all(200), body: () => ({ full_name: 'Someone' }) },
  'POST /api/v1/auth/change-password': {
    statuses: all(400),
    body: () => ({ current_password: 'a wrong one', new_password: password }),
  },
  'GET /api/v1/auth/sessions': { statuses: all(200) },
  'DELETE /api/v1/auth/sessions/:id': { statuses: all(404), params: ({ listId }) => ({ id: listId }) },
  'POST /api/v1/auth/logout': { statuses: all(204) },
  'GET /api/v1/audit': { statuses: { ...all(403), super_admin: 200, tenant_admin: 200, other_admin: 200 } },
  'POST /api/v1/invitations/accept': {
    statuses: onlyTheInvitee(200),
    body: ({ invitation }) => ({ token: invitation }),
    given: 'invitation',
  },
  'POST /api/v1/invitations/reject': {
    statuses: onlyTheInvitee(204),
    body: ({ invitation }) => ({ token: invitation }),
    given: 'invitation',
  },
}

export interface Rule extends Call {
  action: string
  route: string
  statuses: Statuses
}

export const table: readonly Rule[] = [
  ...Object.entries(actions).flatMap(([action, described]) =>
    Object.entries(described.routes).map(([route, call]) => ({
      ...call,
      action,
      route,
      statuses: statusesOf(rows.get(action), described, call),
    })),
  ),
  ...Object.entries(besideTheContract).map(([route, call]) => ({ ...call, action: 'Own account', route })),
]

function statusesOf(cells: Cells | undefined, { others, dashes = {} }: Action, { ok, but }: Route): Statuses {
  const ofColumn = (who: Column): number => statusOfCell(cells?.[who] ?? 'no', ok, dashes[who] ?? ok)
  const ofOther = (who: Beside): number => others[who] ?? ok
  return {
    ...{ super_admin: ofColumn('super_admin'), tenant_admin: ofColumn('tenant_admin') },
    ...{ owner: ofColumn('owner'), editor: ofColumn('editor'), viewer: ofColumn('viewer') },
    ...{ outsider: ofOther('outsider'), stranger: ofOther('stranger'), other_admin: ofOther('other_admin') },
    ...but,
  }
}
