/** Every route that takes an id × every kind of foreign id × every role. */
import { type Attempt, ask, type Call, type Outcome } from './attack.ts'
import { foreignIds, type Mirror, type Role } from './mirror.ts'
import { type Route, routes } from './surface.ts'

/** Bodies that would have an effect. A route that takes one and has none here fails the suite. */
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

/** @param isTried defaults to every kind of id on every route */
export const pathAttempts = (
  mirror: Mirror,
  as: readonly Role[],
  isTried: (route: Route, kind: string) => boolean = () => true,
): Attempt[] =>
  routesWithIds.flatMap((route) =>
    as.flatMap((role) =>
      callsOn(mirror, route).flatMap((call, at) =>
        // Only ids of the route's own kind are tried with every call.
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

/** The bodies and, on conditional routes, a precondition that fails. */
function callsOn(mirror: Mirror, route: Route): Omit<Call, 'path'>[] {
  const { method, name, bodyFields } = route
  const made = bodyFields.length > 0 ? bodies[name]?.(mirror) : [undefined]
  if (!made) throw new Error(`${name} takes a body: add one to tests/access/isolation/paths.ts`)
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
  const run = ([first = '', second = '']: string[]): Promise<Outcome> => {
    const values = [first, second]
    const path = route.path.replace(/:\w+/g, () => values.shift() ?? '')
    return ask(server, who, { ...call, path }, { first, ...(second ? { second } : {}) })
  }
  const nowhere = () => Bun.randomUUIDv7()
  const several = route.params.length > 1
  // One control for all kinds.
  const controls = new Map<string, Promise<Outcome>>()
  const attempt = (kind: string, own: boolean, foreign: string[], control: () => string[]): Attempt => ({
    name: `${route.name} with their ${kind} as ${role}, ${JSON.stringify(call)}`,
    expected: expectedStatus(route, role, own, call.headers !== undefined),
    foreign: () => run(foreign),
    control: () => {
      const known = controls.get(String(own)) ?? run(control())
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

/** Whether the route's id is of this kind. */
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

/** A role that may never use the route gets 403 before any lookup. */
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
  // A failed precondition on one's own list comes before the check of its members.
  return conditional ? '412' : '404'
}
