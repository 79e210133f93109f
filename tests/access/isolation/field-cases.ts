/** Ways to try a field: pairs of calls that differ in the one value alone. */
import { signInvitation } from '../../../src/features/invitations/token.ts'
import type { Person } from '../../support/people.ts'
import { type Attempt, ask, type Call, type Told } from './attack.ts'
import { foreignIds, type Mirror, type Role } from './mirror.ts'
import { forget } from './witness.ts'

export type Case = (mirror: Mirror, field: string, as: readonly Role[]) => Attempt[] | Promise<Attempt[]>

/** Two calls that differ in nothing but the value. */
export const pair = (
  mirror: Mirror,
  name: string,
  who: Person | null,
  values: { foreign: string; control: string },
  call: (value: string) => Call,
  expected?: string,
): Attempt => {
  const told = (value: string): Promise<Told> => ask(mirror.server, who, call(value), { value })
  return {
    name: `${name} as ${who ? who.fullName : 'nobody'}`,
    ...(expected === undefined ? {} : { expected }),
    foreign: () => told(values.foreign),
    control: () => told(values.control),
  }
}

export const callOf = (field: string, params: Record<string, string> = {}): Omit<Call, 'body'> => {
  const [method = '', path = ''] = field.split(' ')
  return { method, path: path.replace(/:(\w+)/g, (_, name: string) => params[name] ?? 'missing') }
}

interface Tried {
  values(mirror: Mirror): { foreign: string; control: string }[]
  call(value: string): object | string
  expected(role: Role): string
}

/** As every role. @param call the body, or what follows the path */
export const tried =
  ({ values, call, expected }: Tried): Case =>
  (mirror, field, as) =>
    as.flatMap((role) =>
      values(mirror).map((pairOf) => {
        const request = (value: string): Call => {
          const made = call(value)
          const { method, path } = callOf(field, ownList(mirror))
          return typeof made === 'string' ? { method, path: path + made } : { method, path, body: made }
        }
        return pair(mirror, field, mirror.mine.people[role], pairOf, request, expected(role))
      }),
    )

export const nobodys = 'nobody@elsewhere.example'

/** Without signing in. An address of a tenant's is told like one that nobody has. */
export const openAddress =
  (rest: object, expected: string): Case =>
  (mirror, field) => {
    const { owner } = mirror.theirs.people
    const body = (email: string) => ({ ...callOf(field), body: { email, ...rest } })
    return [pair(mirror, field, null, { foreign: owner.email, control: nobodys }, body, expected)]
  }

/** The id is free here: what is made with it is like what is made with any new id, and is taken away again. */
export const claimed =
  (
    bodyOf: (id: string) => object,
    params: (mirror: Mirror) => Record<string, string>,
    expected: (role: Role) => string,
  ): Case =>
  (mirror, field, as) =>
    as.flatMap((role) =>
      Object.entries(foreignIds(mirror.theirs)).map(([kind, foreign]) => {
        const control = Bun.randomUUIDv7()
        const call = (value: string) => ({ ...callOf(field, params(mirror)), body: bodyOf(value) })
        const attempt = pair(
          mirror,
          `${field}, their ${kind}`,
          mirror.mine.people[role],
          { foreign, control },
          call,
          expected(role),
        )
        // Each is taken away before the other comes, which would else find one more thing here.
        const alone = (told: () => Promise<Told>, id: string) => async () => {
          const answer = await told()
          if (answer.code === '201') await forget(mirror.server, mirror.mine, [id])
          return answer
        }
        return {
          ...attempt,
          foreign: alone(attempt.foreign, foreign),
          control: alone(attempt.control, control),
          alone: true,
        }
      }),
    )

export const ownList = ({ mine }: Mirror) => ({ id: mine.own.list })
export const byWriters = (role: Role): string =>
  ({ admin: '201', owner: '201', editor: '201', viewer: '403', outsider: '404' })[role]

/** A cursor that another tenant was given, for the same page of its own or of the very list it is of. */
export const cursor =
  (
    idOf: ((mirror: Mirror, whose: 'mine' | 'theirs') => string) | null,
    as: readonly Role[] = ['owner'],
  ): Case =>
  async (mirror, field) => {
    const paged = (id: string, query: string): Call => {
      const { method, path } = callOf(field, { id })
      return { method, path: `${path}?limit=1${query}` }
    }
    const theirs = mirror.theirs.people[as[0] ?? 'owner']
    const page = await ask(mirror.server, theirs, paged(idOf?.(mirror, 'theirs') ?? '', ''), {})
    const { next_cursor: foreign } = JSON.parse(page.body)
    if (typeof foreign !== 'string') throw new Error(`${field}: they have no second page: ${page.text}`)
    return as.flatMap((role) =>
      (['mine', 'theirs'] as const).map((whose) =>
        pair(
          mirror,
          `${field}, of ${whose}`,
          mirror.mine.people[role],
          { foreign, control: `${Buffer.from('["x","y"]').toString('base64url')}.${'A'.repeat(22)}` },
          (value) => paged(idOf?.(mirror, whose) ?? '', `&cursor=${value}`),
          '422',
        ),
      ),
    )
  }

export const listOf = (mirror: Mirror, whose: 'mine' | 'theirs'): string => mirror[whose].own.list

/** A token is for who holds it; to everyone else it is what one would be that names nothing here. */
export const invitation: Case = async (mirror, field, as) => {
  const { mine, theirs, server } = mirror
  const sign = (claims: Partial<Parameters<typeof signInvitation>[1]>) =>
    signInvitation(
      server.running.deps.jwt,
      {
        tenantId: Bun.randomUUIDv7(),
        listId: Bun.randomUUIDv7(),
        email: theirs.people.outsider.email,
        role: 'editor',
        inviterId: Bun.randomUUIDv7(),
        ...claims,
      },
      600,
    )
  const attempt = (
    name: string,
    role: Role,
    values: { foreign: string; control: string },
    expected: string,
  ) =>
    pair(
      mirror,
      `${field}, ${name}`,
      mirror.mine.people[role],
      values,
      (token) => ({
        ...callOf(field),
        body: { token },
      }),
      expected,
    )
  const control = await sign({})
  const made = as.map(async (role) => {
    const { email } = mine.people[role]
    // Nobody but this program signs such a one: what holds then is the database alone.
    const mixed = await sign({
      tenantId: mine.tenant.id,
      listId: theirs.own.list,
      inviterId: theirs.people.owner.id,
      email,
    })
    const nowhere = await sign({ tenantId: mine.tenant.id, email })
    return [
      attempt('theirs', role, { foreign: theirs.invitation, control }, '403'),
      attempt(
        'their spent one',
        role,
        { foreign: theirs.spentInvitation, control: mine.spentInvitation },
        '409',
      ),
      attempt('of a list of theirs', role, { foreign: mixed, control: nowhere }, '410'),
    ]
  })
  const attempts = (await Promise.all(made)).flat()
  // A preview is for whoever holds the token, by the contract.
  return field.includes('/preview') ? attempts.filter(({ expected }) => expected !== '403') : attempts
}
