/** `minimart release-address`: an operator frees an address, beside a server where there is PostgreSQL. */
import { expect, test } from 'bun:test'
import { endsWithinASecond, login } from '../support/auth.ts'
import { freshEmail, goodPassword, join, makeList, makeTenant, makeUser } from '../support/people.ts'
import { asServer, describeExecutable, environmentFor } from '../support/program.ts'
import { describeFull, startServer } from '../support/server.ts'
import { startInbox } from '../support/smtp.ts'

describeExecutable('release-address', (program) => {
  const releaseAt =
    (environment: Record<string, string>) =>
    async (...args: string[]) =>
      await program.run(['release-address', ...args], { env: environment })

  describeFull('beside a server', () => {
    test('frees the address of a verified user once it is told to, ends their sessions and keeps what was theirs', async () => {
      const server = await startServer('full')
      const release = releaseAt({ ...server.environment, DATA_DIR: await program.dataDir() })
      const tenant = await makeTenant(server)
      const ann = await makeUser(server, tenant, { name: 'ann' })
      const { id: listId } = await makeList(tenant.admin)
      await join(tenant.admin, listId, ann)

      const asked = await release(ann.email)
      expect([asked.code, asked.stdout]).toEqual([1, ''])
      for (const said of [tenant.name, ann.id, 'member, verified, active', '--yes'])
        expect(asked.stderr).toContain(said)
      expect((await ann.api.get('/auth/me')).status).toBe(200)

      const released = await release(` ${ann.email.toUpperCase()}`, '--yes', '--json')
      expect([released.code, released.stderr]).toEqual([0, ''])
      const holder = { tenant_id: tenant.id, tenant: tenant.name, user_id: ann.id, role: 'member' }
      expect(JSON.parse(released.stdout)).toEqual({
        email: ann.email,
        released: [{ ...holder, slug: expect.any(String), verified: true, active: true }],
      })
      await endsWithinASecond(server, ann.accessToken)
      expect((await login(server, ann.email)).body.code).toBe('invalid_credentials')
      const left = await tenant.admin.api.get(`/users/${ann.id}`)
      expect(left.body).toMatchObject({
        ...{ email: `released-${ann.id}@address.invalid`, full_name: 'ann', is_active: false },
      })
      expect((await tenant.admin.api.get(`/shopping-lists/${listId}/members`)).body.data).toHaveLength(2)
      const trail = await tenant.admin.api.get('/audit?action=user.address_released')
      expect(trail.body.data).toMatchObject([
        {
          target_id: ann.id,
          actor_id: null,
          address: null,
          details: { email: ann.email, reason: 'operator' },
        },
      ])

      const again = await release(ann.email)
      expect([again.code, again.stdout]).toEqual([0, `Nobody has ${ann.email}: it is free.\n`])
      const elsewhere = await makeTenant(server)
      const taken = { email: ann.email, full_name: 'Ann', password: goodPassword }
      expect((await elsewhere.admin.api.post('/users', taken)).status).toBe(201)
      // Nobody has verified it there, so it is not asked about.
      expect((await release(ann.email)).stdout).toContain('not verified, active')

      const root = await release(server.superAdmin.email, '--yes')
      expect([root.code, root.stdout]).toEqual([1, ''])
      expect(root.stderr).toContain('only active super admin')
      await server.stop()
    })
  })

  test('on the embedded database asks to stop the server first, and on a terminal whether to go on', async () => {
    const inbox = await startInbox()
    const environment = environmentFor(inbox, await program.dataDir('migrated'))
    const release = releaseAt(environment)
    const running = await (await program.start([], { env: environment })).ready()
    const tenant = await makeTenant(asServer(running, { backend: 'embedded', inbox, environment }))
    const { email } = tenant.admin
    const refused = await release(email, '--yes')
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toContain('Stop it first')
    running.signal('SIGTERM')
    expect(await running.exited).toBe(0)
    const answer = (stdin: string) =>
      program.run(['release-address', email], { env: environment, terminal: true, stdin })
    const no = await answer('n\n')
    expect([no.code, no.stdout.includes('Nothing was changed.')]).toEqual([1, true])
    const yes = await answer('y\n')
    expect([yes.code, yes.stdout.includes(`${email} is free now.`)]).toEqual([0, true])
    expect((await release(freshEmail())).code).toBe(0)
    await inbox.stop()
  })

  test('creates no database, and wants an address', async () => {
    const env = { DATA_DIR: await program.dataDir() }
    const none = await program.run(['release-address', 'a@b.example'], { env })
    expect([none.code, none.stdout]).toEqual([1, ''])
    expect(none.stderr).toContain('There is no embedded database')
    for (const args of [[], ['nobody'], ['a..b@shop.example']])
      expect((await program.run(['release-address', ...args], { env })).code).toBe(2)
  })
})
