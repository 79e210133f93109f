/** Every body or query field that can name something of another tenant × the values it may hold. */
import type { Attempt } from './attack.ts'
import {
  byWriters,
  type Case,
  callOf,
  claimed,
  cursor,
  invitation,
  listOf,
  openAddress,
  ownList,
  pair,
  tried,
  unknownAddress,
} from './field-cases.ts'
import { type Mirror, type Role, roles } from './mirror.ts'
import { routes } from './surface.ts'

/** Fields that refer to nothing and nobody. A field that is neither here nor in `cases` fails the suite. */
const plain = new Set([
  ...['name', 'full_name', 'description', 'quantity', 'unit', 'note', 'category', 'status', 'role'],
  ...['is_active', 'password', 'current_password', 'new_password', 'otp'],
  ...['limit', 'scope', 'deleted', 'position', 'action', 'from', 'to'],
])

export const aimedFields: string[] = [
  ...new Set(
    routes.flatMap(({ name, bodyFields, queryFields }) =>
      [...bodyFields, ...queryFields]
        .filter((field) => !plain.has(field.split('.').at(-1) ?? ''))
        .map((field) => `${name} ${field}`),
    ),
  ),
].sort()

export const casesOfFields = (): string[] => Object.keys(cases).sort()

export const fieldAttempts = (mirror: Mirror, as: readonly Role[] = roles): Promise<Attempt[]> =>
  Promise.all(Object.entries(cases).map(([field, make]) => make(mirror, field, as))).then((made) =>
    made.flat(),
  )

const password = 'a password of mine'
const refusedToAll = () => '403'
const theirAddress = ({ theirs }: Mirror) => [{ foreign: theirs.people.owner.email, control: unknownAddress }]
const theirSlug = () => [{ foreign: 'mirror', control: 'no-such-slug' }]

const inTrail = (field: string): Case =>
  tried({
    values: ({ theirs }) =>
      [theirs.people.owner.id, theirs.own.list].map((foreign) => ({ foreign, control: Bun.randomUUIDv7() })),
    call: (id) => `?${field}=${id}`,
    expected: (role) => (role === 'admin' ? '200' : '403'),
  })

const cases: Record<string, Case> = {
  'POST /api/v1/auth/login email': openAddress({ password: 'not the one they have' }, '401'),
  'POST /api/v1/auth/verify-email email': openAddress({ otp: '000000' }, '400'),
  'POST /api/v1/auth/resend-otp email': openAddress({}, '202'),
  'POST /api/v1/auth/forgot-password email': openAddress({}, '202'),
  'POST /api/v1/auth/refresh refresh_token': (mirror, field) => {
    const theirs = mirror.theirs.people.owner.refreshToken.split('.')
    const proof = mirror.mine.people.owner.refreshToken.split('.').at(-1) ?? ''
    const foreign = [...theirs.slice(0, -1), proof].join('.')
    const control = [Bun.randomUUIDv7(), Bun.randomUUIDv7(), '1', proof].join('.')
    const body = (refresh_token: string) => ({ ...callOf(field), body: { refresh_token } })
    return [pair(mirror, field, null, { foreign, control }, body, '401')]
  },
  'POST /api/v1/auth/reset-password token': (mirror, field) => {
    const token = (...ids: string[]) => [...ids, '0', 'A'.repeat(43)].join('.')
    const { id } = mirror.theirs.people.owner
    const body = (value: string) => ({ ...callOf(field), body: { token: value, new_password: password } })
    const control = token(Bun.randomUUIDv7(), Bun.randomUUIDv7())
    return [mirror.theirs.tenant.id, mirror.mine.tenant.id].map((tenant) =>
      pair(mirror, field, null, { foreign: token(tenant, id), control }, body, '400'),
    )
  },
  'POST /api/v1/tenants slug': tried({
    values: theirSlug,
    call: (slug) => ({ name: 'x', slug, admin: { email: unknownAddress, full_name: 'x', password } }),
    expected: refusedToAll,
  }),
  'POST /api/v1/tenants admin.email': tried({
    values: theirAddress,
    call: (email) => ({ name: 'x', admin: { email, full_name: 'x', password } }),
    expected: refusedToAll,
  }),
  'PATCH /api/v1/tenants/:id slug': tried({
    values: theirSlug,
    call: (slug) => ({ slug }),
    expected: refusedToAll,
  }),
  'GET /api/v1/tenants cursor': tried({
    values: () => [{ foreign: 'W10.theirs', control: 'W10.nobodys' }],
    call: (value) => `?cursor=${value}`,
    expected: refusedToAll,
  }),
  'GET /api/v1/tenants search': tried({
    values: () => [{ foreign: 'Mirror', control: 'Nothing' }],
    call: (value) => `?search=${value}`,
    expected: refusedToAll,
  }),
  'GET /api/v1/audit actor_id': inTrail('actor_id'),
  'GET /api/v1/audit target_id': inTrail('target_id'),
  'GET /api/v1/audit cursor': cursor(null, ['admin']),
  'GET /api/v1/users search': tried({
    values: ({ theirs: { people } }) =>
      [people.owner.email, people.viewer.email.slice(0, -5)].map((foreign) => ({
        foreign,
        control: unknownAddress,
      })),
    call: (value) => `?search=${encodeURIComponent(value)}`,
    expected: () => '200',
  }),
  'GET /api/v1/users cursor': cursor(null, ['admin', 'owner']),
  // Addresses are unique across the installation; the answer does not reveal in which tenant one is taken.
  'POST /api/v1/users email': tried({
    values: ({ mine, theirs }) => [{ foreign: theirs.people.owner.email, control: mine.people.viewer.email }],
    call: (email) => ({ email, full_name: 'Theirs', password }),
    expected: (role) => (role === 'admin' ? '409' : '403'),
  }),
  'POST /api/v1/shopping-lists id': claimed(
    (id) => ({ id, name: 'Own' }),
    () => ({}),
    () => '201',
  ),
  'GET /api/v1/shopping-lists cursor': cursor(null),
  'GET /api/v1/shopping-lists/:id/members cursor': cursor(listOf),
  'GET /api/v1/shopping-lists/:id/items cursor': cursor(listOf),
  'GET /api/v1/shopping-lists/:id/events since': (mirror, field, as) =>
    as.flatMap((role) =>
      ['0', '1', '3', '999'].map((since) => {
        const values = { foreign: mirror.theirs.own.list, control: Bun.randomUUIDv7() }
        const call = (id: string) => {
          const { method, path } = callOf(field, { id })
          return { method, path: `${path}?since=${since}` }
        }
        return pair(mirror, `${field} ${since}`, mirror.mine.people[role], values, call, '404')
      }),
    ),
  'POST /api/v1/shopping-lists/:id/invite email': tried({
    values: theirAddress,
    call: (email) => ({ email }),
    expected: (role) => ({ admin: '422', owner: '422', editor: '403', viewer: '403', outsider: '404' })[role],
  }),
  'POST /api/v1/shopping-lists/:id/items id': claimed((id) => ({ id, name: 'Own' }), ownList, byWriters),
  'POST /api/v1/shopping-lists/:id/items items.id': claimed(
    (id) => ({ items: [{ id, name: 'Own' }] }),
    ownList,
    byWriters,
  ),
  'POST /api/v1/invitations/preview token': invitation,
  'POST /api/v1/invitations/accept token': invitation,
  'POST /api/v1/invitations/reject token': invitation,
}
