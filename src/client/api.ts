import { isMiniMartError } from './error.ts'
import type { Call, CallOptions, Http } from './http.ts'
import type { Events } from './messages.ts'
import type {
  Colleague,
  CreatedTenant,
  HistoryPosition,
  Id,
  Invitation,
  InvitationPreview,
  Item,
  ItemChange,
  ItemStatus,
  List,
  ListDetail,
  ListFieldsChange,
  ListSummary,
  Member,
  MemberRole,
  NewItem,
  NewList,
  NewTenant,
  NewUser,
  Page,
  PageQuery,
  ProfileChange,
  Session,
  Tenant,
  TenantChange,
  TenantDetail,
  User,
  UserChange,
  UserRole,
} from './types.ts'

export type Api = ReturnType<typeof createApi>

type Options = CallOptions | undefined

/**
 * The calls of the API. Each rejects with a MiniMartError; the OpenAPI document names the codes.
 * @param newId returns a UUIDv7
 */
export function createApi(http: Http, newId: () => Id) {
  const requests = createRequests(http)
  return {
    account: accountCalls(requests),
    lists: listCalls(requests, newId),
    items: itemCalls(requests, newId),
    members: memberCalls(requests),
    invitations: invitationCalls(requests),
    users: userCalls(requests),
    tenants: tenantCalls(requests),
  }
}

type Requests = ReturnType<typeof createRequests>

function createRequests(http: Http) {
  const get = <T>(path: string, query?: object, options?: Options) =>
    http<T>({ method: 'GET', path, ...(query ? { query } : {}), ...options })
  const post = <T>(path: string, body?: unknown, options?: Partial<Call>) =>
    http<T>({ method: 'POST', path, ...(body === undefined ? {} : { body }), ...options })
  const patch = <T>(path: string, body: unknown, options?: Options) =>
    http<T>({ method: 'PATCH', path, body, ...options })
  /** 404 counts as success: an earlier attempt whose answer was lost may have deleted it, or the runtime's own retry. */
  const remove = (path: string, options?: Options) =>
    http<void>({ method: 'DELETE', path, ...options }).catch((error: unknown) => {
      if (!isMiniMartError(error) || error.status !== 404) throw error
    })
  return { get, post, patch, remove }
}

const list = (id: Id): string => `/shopping-lists/${encodeURIComponent(id)}`
const item = (id: Id): string => `/items/${encodeURIComponent(id)}`
const user = (id: Id): string => `/users/${encodeURIComponent(id)}`
const tenant = (id: Id): string => `/tenants/${encodeURIComponent(id)}`
const member = (listId: Id, userId: Id): string => `${list(listId)}/members/${encodeURIComponent(userId)}`
const anonymous = { anonymous: true }

const accountCalls = ({ get, post, patch, remove }: Requests) => ({
  verifyEmail: (email: string, otp: string) =>
    post<{ email_verified: true }>('/auth/verify-email', { email, otp }, anonymous),
  resendOtp: (email: string) => post<void>('/auth/resend-otp', { email }, anonymous),
  forgotPassword: (email: string) => post<void>('/auth/forgot-password', { email }, anonymous),
  resetPassword: (token: string, newPassword: string) =>
    post<void>('/auth/reset-password', { token, new_password: newPassword }, anonymous),
  changePassword: (currentPassword: string, newPassword: string) =>
    post<void>('/auth/change-password', { current_password: currentPassword, new_password: newPassword }),
  me: (options?: Options) => get<User>('/auth/me', undefined, options),
  changeMe: (change: ProfileChange) => patch<User>('/auth/me', change),
  sessions: () => get<{ data: Session[]; next_cursor: null }>('/auth/sessions'),
  endSession: (id: Id) => remove(`/auth/sessions/${encodeURIComponent(id)}`),
})

const listCalls = ({ get, post, patch, remove }: Requests, newId: () => Id) => ({
  page: (query?: PageQuery & { scope?: 'all'; deleted?: boolean }, options?: Options) =>
    get<Page<ListSummary>>('/shopping-lists', query, options),
  get: (id: Id, options?: Options) => get<ListDetail>(list(id), undefined, options),
  create: (body: NewList, options?: Options) =>
    post<List>('/shopping-lists', { ...body, id: body.id ?? newId() }, { retry: true, ...options }),
  change: (id: Id, change: ListFieldsChange, options?: Options) => patch<List>(list(id), change, options),
  delete: (id: Id, options?: Options) => remove(list(id), options),
  restore: (id: Id) => post<List>(`${list(id)}/restore`),
  events: (id: Id, query?: { since?: number | HistoryPosition; limit?: number }, options?: Options) =>
    get<Events>(`${list(id)}/events`, query, options),
})

const itemCalls = ({ get, post, patch, remove }: Requests, newId: () => Id) => ({
  page: (listId: Id, query?: PageQuery & { status?: ItemStatus }, options?: Options) =>
    get<Page<Item>>(`${list(listId)}/items`, query, options),
  add: (listId: Id, body: NewItem, options?: Options) =>
    post<Item>(`${list(listId)}/items`, { ...body, id: body.id ?? newId() }, { retry: true, ...options }),
  /** At most 200, all or none. */
  addMany: async (listId: Id, items: readonly NewItem[], options?: Options): Promise<Item[]> => {
    const body = { items: items.map((one) => ({ ...one, id: one.id ?? newId() })) }
    const path = `${list(listId)}/items`
    return (await post<{ data: Item[] }>(path, body, { retry: true, ...options })).data
  },
  change: (id: Id, change: ItemChange, options?: Options) => patch<Item>(item(id), change, options),
  delete: (id: Id, options?: Options) => remove(item(id), options),
  clearPurchased: (listId: Id) => post<{ deleted: number }>(`${list(listId)}/items/clear-purchased`),
})

const memberCalls = ({ get, patch, remove }: Requests) => ({
  page: (listId: Id, query?: PageQuery, options?: Options) =>
    get<Page<Member>>(`${list(listId)}/members`, query, options),
  change: (listId: Id, userId: Id, role: MemberRole, options?: Options) =>
    patch<Member>(member(listId, userId), { role }, options),
  /** Removes a member, or leaves when it is the user. */
  delete: (listId: Id, userId: Id, options?: Options) => remove(member(listId, userId), options),
})

const invitationCalls = ({ post }: Requests) => ({
  invite: (listId: Id, email: string, role?: Invitation['role']) =>
    post<Invitation>(`${list(listId)}/invite`, { email, ...(role ? { role } : {}) }),
  preview: (token: string) =>
    post<InvitationPreview>('/invitations/preview', { token }, { ...anonymous, retry: true }),
  accept: (token: string) => post<ListSummary>('/invitations/accept', { token }),
  reject: (token: string) => post<void>('/invitations/reject', { token }),
})

const userCalls = ({ get, post, patch, remove }: Requests) => ({
  page: (
    query?: PageQuery & { search?: string; is_active?: boolean; role?: Exclude<UserRole, 'super_admin'> },
  ) => get<Page<User | Colleague>>('/users', query),
  get: (id: Id) => get<User | Colleague>(user(id)),
  create: (body: NewUser) => post<User>('/users', body),
  change: (id: Id, change: UserChange) => patch<User>(user(id), change),
  deactivate: (id: Id) => remove(user(id)),
})

const tenantCalls = ({ get, post, patch, remove }: Requests) => ({
  page: (query?: PageQuery & { search?: string; is_active?: boolean }) =>
    get<Page<Tenant>>('/tenants', query),
  get: (id: Id) => get<TenantDetail>(tenant(id)),
  create: (body: NewTenant) => post<CreatedTenant>('/tenants', body),
  change: (id: Id, change: TenantChange) => patch<Tenant>(tenant(id), change),
  deactivate: (id: Id) => remove(tenant(id)),
})
