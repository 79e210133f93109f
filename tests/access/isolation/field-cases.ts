/** Ways to try a field: pairs of calls that differ only in its value. */
import { signInvitation } from '../../../src/features/invitations/token.ts'
import type { Person } from '../../support/people.ts'
import { type Attempt, ask, type Call, type Outcome } from './attack.ts'
import { foreignIds, type Mirror, type Role } from './mirror.ts'
import { removeRows } from './tables.ts'

export type Case = (mirror: Mirror, field: string, as: readonly Role[]) => Attempt[] | Promise<Attempt[]>

/** Two calls that differ only in the value. */
export const pair = (
  mirror: Mirror,
  name: string,
  who: Person | null,
  values: { foreign: string; control: string },
  call: (value: string) => Call,
  expected?: string,
): Attempt => {
  const run = (value: string): Promise<Outcome> => ask(mirror.server, who, call(value), { value })
  return {
    name: `${name} as ${who ? who.fullName : 'nobody'}`,
    ...(expected === undefined ? {} : { expected }),
    foreign: () => run(values.foreign),
    control: () => run(values.control),
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

/** Tries every role. @param call the body, or what follows the path */
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

export const unknownAddress = 'nobody@elsewhere.example'

/** Unauthenticated: a tenant's address answers like an unknown one. */
export const openAddress =
  (rest: object, expected: string): Case =>
  (mirror, field) => {
    const { owner } = mirror.theirs.people
    const body = (email: string) => ({ ...callOf(field), body: { email, ...rest } })
    return [pair(mirror, field, null, { foreign: owner.email, control: unknownAddress }, body, expected)]
  }

/** The id is free in this tenant: it can be used like any new id. What is made is removed again. */
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
        // Removed before the other call, which would otherwise find one thing more.
        const alone = (run: () => Promise<Outcome>, id: string) => async () => {
          const answer = await run()
          if (answer.code === '201') await removeRows(mirror.server, mirror.mine, [id])
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

/** A cursor issued to another tenant, for a page of its own list or of ours. */
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

/** Another tenant's token must answer like one that names nothing in this tenant. */
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
    // Only the service can sign such a token; here the database alone protects.
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
        'their redeemed one',
        role,
        { foreign: theirs.redeemedInvitation, control: mine.redeemedInvitation },
        '409',
      ),
      attempt('of a list of theirs', role, { foreign: mixed, control: nowhere }, '410'),
    ]
  })
  const attempts = (await Promise.all(made)).flat()
  // By the contract, whoever holds the token may preview.
  return field.includes('/preview') ? attempts.filter(({ expected }) => expected !== '403') : attempts
}
