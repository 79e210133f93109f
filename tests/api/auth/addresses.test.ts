/** Who has an address: nobody until it is verified, then the account that was. */
import { beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { login, wrongCode } from '../../support/auth.ts'
import { type Answer, createClient } from '../../support/client.ts'
import { freshEmail, makeList, makeTenant, superAdmin, type Tenant } from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'
import { codeIn } from '../../support/smtp.ts'

describeBackends('an address', (backend) => {
  let server: TestServer
  let tenants: Tenant[]

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenants = []
    for (const name of ['Ash', 'Birch', 'Cedar', 'Elm', 'Fir', 'Gum'])
      tenants.push(await makeTenant(server, name))
  })

  const passwordIn = ({ name }: Tenant): string => `the password at ${name}`
  const add = (tenant: Tenant, email: string): Promise<Answer> =>
    tenant.admin.api.post('/users', { email, full_name: 'Someone', password: passwordIn(tenant) })
  /** @returns the user's id and the code that was mailed */
  const added = async (tenant: Tenant, email: string) => {
    const { status, body } = await add(tenant, email)
    expect(status).toBe(201)
    const mail = await server.inbox.waitFor(email, ({ text }) => text.includes(`added to ${tenant.name} by`))
    return { id: String(body.id), code: codeIn(mail) }
  }
  const verify = (email: string, otp: string): Promise<Answer> =>
    createClient(server.url).post('/auth/verify-email', { email, otp })
  const trailOf = async ({ admin }: Tenant, action: string) =>
    (await admin.api.get(`/audit?action=${action}&limit=100`)).body.data as Record<string, unknown>[]
  const codeOf = ({ body }: Answer): string => body.code

  test('is not held by accounts that have not verified it: the first to verify has it, and the others are gone', async () => {
    const [ash, birch, cedar] = tenants as [Tenant, Tenant, Tenant]
    const email = freshEmail('wanted')
    const first = await added(ash, email)
    const squatter = await added(birch, email)
    // Signing in means the one made last.
    expect(codeOf(await login(server, email, passwordIn(ash)))).toBe('invalid_credentials')
    expect(codeOf(await login(server, email, passwordIn(birch)))).toBe('email_not_verified')
    expect((await verify(email, first.code)).status).toBe(200)
    expect((await login(server, email, passwordIn(ash))).body.user.id).toBe(first.id)
    expect(codeOf(await login(server, email, passwordIn(birch)))).toBe('invalid_credentials')
    expect(codeOf(await verify(email, squatter.code))).toBe('otp_invalid')
    expect((await birch.admin.api.get(`/users/${squatter.id}`)).status).toBe(404)
    expect(await trailOf(birch, 'user.address_released')).toMatchObject([
      {
        target_id: squatter.id,
        details: { email, reason: 'verified_elsewhere' },
        actor_id: null,
        address: null,
      },
    ])
    expect(await trailOf(birch, 'user.removed')).toMatchObject([{ target_id: squatter.id }])
    expect(await trailOf(ash, 'user.address_released')).toEqual([])
    for (const tenant of [ash, birch, cedar]) expect(codeOf(await add(tenant, email))).toBe('email_taken')
  })

  test('has one owner when two accounts are verified at the same moment', async () => {
    const [ash, birch] = tenants as [Tenant, Tenant]
    const race = async () => {
      const email = freshEmail('raced')
      const [one, two] = [await added(ash, email), await added(birch, email)]
      const answers = await Promise.all([verify(email, one.code), verify(email, two.code)])
      expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 400])
      const kept = await Promise.all([
        ash.admin.api.get(`/users/${one.id}`),
        birch.admin.api.get(`/users/${two.id}`),
      ])
      expect(kept.map(({ status }) => status)).toEqual(
        answers.map(({ status }) => (status === 200 ? 200 : 404)),
      )
    }
    await Promise.all(Array.from({ length: 8 }, race))
  })

  test('waits for its owner in five accounts at most, one a tenant; deactivated ones hold up nobody', async () => {
    const email = freshEmail('popular')
    const [ash, ...others] = tenants as [Tenant, ...Tenant[]]
    const sixth = others.at(-1) ?? ash
    const both = await Promise.all([add(ash, email), add(ash, email)])
    expect(both.map(({ status }) => status).toSorted()).toEqual([201, 409])
    for (const tenant of others.slice(0, -1)) expect((await add(tenant, email)).status).toBe(201)
    expect(codeOf(await add(sixth, email))).toBe('email_taken')
    const { id } = both.find(({ status }) => status === 201)?.body ?? {}
    expect((await ash.admin.api.delete(`/users/${id}`)).status).toBe(204)
    expect((await add(sixth, email)).status).toBe(201)
  })

  test('of a deactivated tenant’s unverified account is free at once', async () => {
    const [ash] = tenants as [Tenant]
    const [root, email] = [await superAdmin(server), freshEmail('stuck')]
    const squatters = await makeTenant(server, 'Squatters')
    await added(squatters, email)
    expect((await root.api.delete(`/tenants/${squatters.id}`)).status).toBe(204)
    const owner = await added(ash, email)
    expect((await verify(email, owner.code)).status).toBe(200)
    expect((await login(server, email, passwordIn(ash))).status).toBe(200)
  })

  test('is guessed for all its accounts at once: a wrong code counts against each', async () => {
    const [ash, birch] = tenants as [Tenant, Tenant]
    const email = freshEmail('guessed')
    const codes = [(await added(ash, email)).code, (await added(birch, email)).code]
    const wrong =
      wrongCode(codes[0] ?? '') === codes[1] ? wrongCode(codes[1] ?? '') : wrongCode(codes[0] ?? '')
    for (let tries = 0; tries < 5; tries++) expect(codeOf(await verify(email, wrong))).toBe('otp_invalid')
    for (const code of codes) expect(codeOf(await verify(email, code))).toBe('otp_attempts_exceeded')
  })

  test('leaves an account that rows refer to readable, deactivated under a placeholder', async () => {
    const [ash, birch] = tenants as [Tenant, Tenant]
    const email = freshEmail('imported')
    const { id } = await added(birch, email)
    const { id: listId } = await makeList(birch.admin)
    await server.running.deps.db.write(
      { tenantId: birch.id },
      sql`insert into list_members (tenant_id, list_id, user_id, role) values (${birch.id}, ${listId}, ${id}, 'viewer')`,
    )
    const owner = await added(ash, email)
    expect((await verify(email, owner.code)).status).toBe(200)
    expect(server.log.messages().filter((message) => message.startsWith('removing an account'))).toEqual([])
    const left = await birch.admin.api.get(`/users/${id}`)
    expect(left.body).toMatchObject({ email: `released-${id}@address.invalid`, is_active: false })
    expect((await birch.admin.api.get(`/shopping-lists/${listId}/members`)).body.data).toHaveLength(2)
  })

  test('that is taken is told a tenant 20 times an hour, each in its trail; then it can add nobody', async () => {
    const [curious, other] = [await makeTenant(server, 'Curious'), tenants[0] as Tenant]
    const taken = other.admin.email
    for (let asked = 0; asked < 20; asked++) expect(codeOf(await add(curious, taken))).toBe('email_taken')
    for (const email of [taken, freshEmail('free')]) {
      const refused = await add(curious, email)
      expect([refused.status, codeOf(refused)]).toEqual([429, 'rate_limited'])
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(3000)
    }
    const entries = await trailOf(curious, 'user.creation_failed')
    expect(entries).toHaveLength(20)
    expect(entries[0]).toMatchObject({
      ...{ actor_id: curious.admin.id, actor_role: 'tenant_admin', target_id: null },
      details: { email: taken, reason: 'email_taken' },
    })
    expect(codeOf(await add(other, taken))).toBe('email_taken')
  })
})
