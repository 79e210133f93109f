/** Every route that takes an id × every kind of foreign id × every role. */
import { type Attempt, ask, type Call, type Told } from './attack.ts'
import { foreignIds, type Mirror, type Role } from './mirror.ts'
import { type Route, routes } from './surface.ts'

/** Bodies that would do something. A route with a body and none here fails the suite. */
const bodies: Record<string, (mirror: Mirror) => object[]> = {
  'PATCH /api/v1/tenants/:id': () => [{ name: 'Taken' }],
  'PATCH /api/v1/users/:id': () => [{ full_name: 'Taken' }, { role: 'tenant_admin' }, { is_active: false }],
  'PATCH /api/v1/shopping-lists/:id': () => [{ name: 'Taken' }],
  'PATCH /api/v1/shopping-lists/:id/members/:user_id': () => [{ role: 'owner' }, { role: 'viewer' }],
  'POST /api/v1/shopping-lists/:id/invite': ({ mine, theirs }) => [
    { email: mine.people.outsider.email },
    { email: theirs.people.outsider.email },
  ],
  'POST /api/v1/shopping-lists/:id/items': () => [{ name: 'Smuggled' }],
  'PATCH /api/v1/items/:id': () => [{ name: 'Taken' }],
}

export const routesWithIds: readonly Route[] = routes.filter(({ params }) => params.length > 0)

/** @param isTried by default every kind of id on every route */
export const pathAttempts = (
  mirror: Mirror,
  as: readonly Role[],
  isTried: (route: Route, kind: string) => boolean = () => true,
): Attempt[] =>
  routesWithIds.flatMap((route) =>
    as.flatMap((role) =>
      callsOn(mirror, route).flatMap((call, at) =>
        // What the route is not about is tried in one way, what it is about in every.
        aimed(
          mirror,
          route,
          role,
          call,
          (kind) => isTried(route, kind) && (at === 0 || isOfItsKind(route, kind)),
        ),
      ),
    ),
  )

/** The bodies, and for what may be conditional also a condition that does not hold. */
function callsOn(mirror: Mirror, route: Route): Omit<Call, 'path'>[] {
  const { method, name, bodyFields } = route
  const made = bodyFields.length > 0 ? bodies[name]?.(mirror) : [undefined]
  if (!made) throw new Error(`${name} takes a body: say in tests/api/isolation/paths.ts what to send`)
  const calls = made.map((body) => ({ method, body }))
  const condition: Record<string, string> = {
    GET: 'if-none-match',
    PATCH: 'if-match',
    DELETE: 'if-match',
  }
  const header = condition[method]
  return header ? [...calls, { method, body: made[0], headers: { [header]: '"seq-1"' } }] : calls
}

function aimed(
  mirror: Mirror,
  route: Route,
  role: Role,
  call: Omit<Call, 'path'>,
  isTried: (kind: string) => boolean,
): Attempt[] {
  const { server, mine, theirs } = mirror
  const who = mine.people[role]
  const told = ([first = '', second = '']: string[]): Promise<Told> => {
    const values = [first, second]
    const path = route.path.replace(/:\w+/g, () => values.shift() ?? '')
    return ask(server, who, { ...call, path }, { first, ...(second ? { second } : {}) })
  }
  const nowhere = () => Bun.randomUUIDv7()
  const several = route.params.length > 1
  // Said once for all kinds.
  const controls = new Map<string, Promise<Told>>()
  const attempt = (kind: string, own: boolean, foreign: string[], control: () => string[]): Attempt => ({
    name: `${route.name} with their ${kind} as ${role}, ${JSON.stringify(call)}`,
    expected: expectedStatus(route, role, own, call.headers !== undefined),
    foreign: () => told(foreign),
    control: () => {
      const known = controls.get(String(own)) ?? told(control())
      controls.set(String(own), known)
      return known
    },
  })
  return Object.entries(foreignIds(theirs))
    .filter(([kind]) => isTried(kind))
    .flatMap(([kind, id]) =>
      several
        ? [
            attempt(`${kind} and user`, false, [id, theirs.people.viewer.id], () => [nowhere(), nowhere()]),
            attempt(`${kind} on an own list`, true, [mine.own.list, id], () => [mine.own.list, nowhere()]),
          ]
        : [attempt(kind, false, [id], () => [nowhere()])],
    )
}

/** Whether the route is about this kind of thing. */
export function isOfItsKind({ path }: Route, kind: string): boolean {
  if (path.endsWith('/restore')) return kind === 'deleted list'
  const kinds: Record<string, string[]> = {
    items: ['item'],
    users: ['user'],
    tenants: ['tenant'],
    auth: ['session'],
    'shopping-lists': path.includes(':user_id') ? ['list', 'user'] : ['list'],
  }
  const known = kinds[path.split('/')[3] ?? '']
  return known === undefined || known.includes(kind)
}

/** Where a role may not do a thing at all, that is told before anything is looked up. */
function expectedStatus(
  { method, path }: Route,
  role: Role,
  onOwnList: boolean,
  conditional: boolean,
): string {
  if (path.startsWith('/api/v1/tenants')) return '403'
  if (path.startsWith('/api/v1/users') && method !== 'GET' && role !== 'admin') return '403'
  if (!onOwnList || role === 'outsider') return '404'
  if (role === 'editor' || role === 'viewer') return '403'
  // A condition on an own list is one's own business, and comes before who is on it.
  return conditional ? '412' : '404'
}
