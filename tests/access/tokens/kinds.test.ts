/** Every kind of token, code and cursor the service issues, tried in place of every other kind. */
import { beforeAll, expect, test } from 'bun:test'
import { claimsOf, forge, makeUnverified, refresh, resetTokenFor } from '../../support/auth.ts'
import { type Answer, createClient } from '../../support/client.ts'
import {
  goodPassword,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { describeService, sharedServer, type TestServer } from '../../support/server.ts'
import { closeCode, openSocket } from '../../support/socket.ts'
import { base64url } from './forging.ts'

const kinds = ['access', 'refresh', 'invitation', 'reset', 'code', 'cursor'] as const
type Kind = (typeof kinds)[number]

describeService('tokens of one kind', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let owner: Person
  let ann: Person
  let newcomer: { email: string }
  let tokens: Record<Kind, string>

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    owner = await makeUser(server, tenant)
    ann = await makeUser(server, tenant)
    const unverified = await makeUnverified(server, tenant)
    newcomer = unverified
    const { id } = await makeList(owner)
    const invited = await owner.api.post(`/shopping-lists/${id}/invite`, { email: ann.email })
    for (const name of ['First', 'Second']) await join(owner, (await makeList(owner, name)).id, ann)
    const page = await ann.api.get('/shopping-lists?limit=1')
    tokens = {
      access: ann.accessToken,
      refresh: ann.refreshToken,
      invitation: invited.body.token,
      reset: await resetTokenFor(server, ann.email),
      code: unverified.code,
      cursor: page.body.next_cursor,
    }
  })

  /** Where each kind belongs, and how the wrong kind is refused there. */
  const places: Record<Kind, [refusals: string[], (token: string) => Promise<Answer>][]> = {
    access: [
      [['401 token_invalid'], (token) => createClient(server.url, token).get('/auth/me')],
      [['401 token_invalid'], (token) => createClient(server.url, token).post('/auth/logout')],
    ],
    refresh: [[['401 refresh_token_invalid'], (token) => refresh(server, token)]],
    invitation: [
      [['400 invitation_invalid'], (token) => ann.api.post('/invitations/preview', { token })],
      [['400 invitation_invalid'], (token) => ann.api.post('/invitations/reject', { token })],
      [['400 invitation_invalid'], (token) => ann.api.post('/invitations/accept', { token })],
    ],
    reset: [
      [
        ['400 reset_token_invalid'],
        (token) =>
          createClient(server.url).post('/auth/reset-password', {
            token,
            new_password: `not ${goodPassword}`,
          }),
      ],
    ],
    code: [
      [
        ['422 invalid', '400 otp_invalid'],
        (otp) => createClient(server.url).post('/auth/verify-email', { email: newcomer.email, otp }),
      ],
    ],
    cursor: [
      [
        ['422 invalid'],
        (cursor) => ann.api.get(`/shopping-lists?limit=1&cursor=${encodeURIComponent(cursor)}`),
      ],
      [['422 invalid'], (cursor) => ann.api.get(`/users?limit=1&cursor=${encodeURIComponent(cursor)}`)],
    ],
  }

  test('open nothing where another kind belongs, and stay valid where they do', async () => {
    const wrong: string[] = []
    for (const kind of kinds) {
      for (const place of kinds.filter((candidate) => candidate !== kind))
        for (const [index, [refusals, use]] of places[place].entries()) {
          const { status, body } = await use(tokens[kind])
          if (!refusals.includes(`${status} ${body?.code}`))
            wrong.push(`${kind} as ${place} (${index}): ${status} ${body?.code}`)
        }
      const socket = kind === 'access' ? null : await openSocket(server, tokens[kind])
      if (socket && (await closeCode(socket)) !== 4001) wrong.push(`${kind} opens a socket`)
    }
    expect(wrong).toEqual([])
    const used = [
      await ann.api.get('/auth/me'),
      await refresh(server, tokens.refresh),
      await ann.api.post('/invitations/accept', { token: tokens.invitation }),
      await ann.api.get(`/shopping-lists?limit=1&cursor=${encodeURIComponent(tokens.cursor)}`),
      await createClient(server.url).post('/auth/verify-email', { email: newcomer.email, otp: tokens.code }),
      await createClient(server.url).post('/auth/reset-password', {
        token: tokens.reset,
        new_password: `not ${goodPassword}`,
      }),
    ]
    expect(used.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 204])
  })

  test('do not pass for another kind by its typ or audience alone, even when correctly signed', async () => {
    const secret = server.environment['JWT_SECRET_KEY'] ?? ''
    const [bob, cem] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    const invited = await owner.api.post(`/shopping-lists/${(await makeList(owner)).id}/invite`, {
      email: cem.email,
    })
    const access = claimsOf(bob.accessToken)
    const invitation = claimsOf(invited.body.token)
    const sign = (claims: object): string => forge({ ...claims }, secret, { alg: 'HS256', typ: 'JWT' })
    for (const change of ['typ', 'aud', 'both'] as const) {
      const worn = (from: Record<string, unknown>): object => ({
        ...(change === 'aud' ? {} : { typ: from['typ'] }),
        ...(change === 'typ' ? {} : { aud: from['aud'] }),
      })
      const asAccess = await createClient(server.url, sign({ ...invitation, ...worn(access) })).get(
        '/auth/me',
      )
      expect([change, asAccess.status, asAccess.body.code]).toEqual([change, 401, 'token_invalid'])
      const misnamed = await createClient(server.url, sign({ ...access, ...worn(invitation) })).get(
        '/auth/me',
      )
      expect([change, misnamed.status, misnamed.body.code]).toEqual([change, 401, 'token_invalid'])
      for (const token of [
        sign({ ...access, ...worn(invitation) }),
        sign({ ...invitation, ...worn(access) }),
      ])
        for (const route of ['preview', 'accept']) {
          const { status, body } = await cem.api.post(`/invitations/${route}`, { token })
          expect([change, status, body.code]).toEqual([change, 400, 'invitation_invalid'])
        }
    }
    // The claims of one kind, its own included, with everything that identifies the other.
    const both = sign({ ...access, ...invitation, ...{ typ: access['typ'], aud: access['aud'] } })
    expect((await createClient(server.url, both).get('/auth/me')).status).toBe(401)
    expect((await cem.api.post('/invitations/accept', { token: both })).status).toBe(400)
    expect((await cem.api.post('/invitations/accept', { token: sign(invitation) })).status).toBe(200)
  })

  test('an invitation with an unrepresentable expiry or an issue date in the future is invalid', async () => {
    const secret = server.environment['JWT_SECRET_KEY'] ?? ''
    const dan = await makeUser(server, tenant)
    const invited = await owner.api.post(`/shopping-lists/${(await makeList(owner)).id}/invite`, {
      email: dan.email,
    })
    const claims = claimsOf(invited.body.token)
    // Decodes to the same bytes: the last two bits of the last character are unused.
    const respelled = invited.body.token.replace(
      /.$/,
      (last: string) => base64url[base64url.indexOf(last) ^ 1] ?? '',
    )
    for (const token of [
      forge({ ...claims, exp: 1e300 }, secret, { alg: 'HS256' }),
      forge({ ...claims, exp: 253_402_300_800 }, secret, { alg: 'HS256' }),
      forge({ ...claims, iat: Number(claims['exp']) }, secret, { alg: 'HS256' }),
      respelled,
      invited.body.token.replace(/(?=.$)/, ' '),
    ])
      for (const route of ['preview', 'accept', 'reject']) {
        const { status, body } = await dan.api.post(`/invitations/${route}`, { token })
        expect([token, status, body.code]).toEqual([token, 400, 'invitation_invalid'])
      }
  })
})
