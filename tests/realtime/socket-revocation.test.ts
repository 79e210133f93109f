/** What revokes a token closes its sockets with 4001 within a second, on every instance, and no others. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { beginSessions, login, refresh, resetTokenFor } from '../support/auth.ts'
import { createClient } from '../support/client.ts'
import {
  addItem,
  goodPassword,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
  type Tenant,
} from '../support/people.ts'
import { describeBackends, sharedServer, startInstance, type TestServer } from '../support/server.ts'
import { closeCode, closeSockets, openSocket, type TestSocket } from '../support/socket.ts'

const newPassword = 'another horse, another staple'

describeBackends('a revocation', (backend) => {
  let server: TestServer
  /** The instance where the change is not made; without Redis there is only one. */
  let other: TestServer
  let tenant: Tenant

  beforeAll(async () => {
    server = await sharedServer(backend)
    other = backend === 'full' ? await startInstance(server) : server
    tenant = await makeTenant(server)
  })
  afterEach(closeSockets)
  afterAll(async () => {
    if (other !== server) await other.stop()
  })

  const changePassword = (person: Person) =>
    person.api.post('/auth/change-password', { current_password: goodPassword, new_password: newPassword })
  const resetPassword = async (person: Person) =>
    createClient(server.url).post('/auth/reset-password', {
      token: await resetTokenFor(server, person.email),
      new_password: newPassword,
    })

  const revocations: Record<string, (ann: Person, tenant: Tenant) => Promise<{ status: number }>> = {
    'a logout': (ann) => ann.api.post('/auth/logout'),
    'a password reset': (ann) => resetPassword(ann),
    'a 51st session': async (ann, own) => {
      await beginSessions(server, ann, own, 49)
      return login(server, ann.email)
    },
    'a deactivation of the user': (ann, { admin }) => admin.api.delete(`/users/${ann.id}`),
    'a deactivation by PATCH': (ann, { admin }) => admin.api.patch(`/users/${ann.id}`, { is_active: false }),
    'a new role': (ann, { admin }) => admin.api.patch(`/users/${ann.id}`, { role: 'tenant_admin' }),
    'a deactivation of the tenant': async (_ann, { id }) =>
      (await superAdmin(server)).api.delete(`/tenants/${id}`),
  }
  for (const [name, revoke] of Object.entries(revocations))
    test(`${name} closes with 4001 within a second, here and on another instance`, async () => {
      const own = name.includes('tenant') ? await makeTenant(server) : tenant
      const ann = await makeUser(server, own)
      const { id } = await makeList(ann)
      const bystander = await openSocket(server, (await makeUser(server, tenant)).accessToken)
      const sockets = [await openSocket(server, ann.accessToken), await openSocket(other, ann.accessToken)]
      for (const socket of sockets) await socket.follow(id)
      expect((await revoke(ann, own)).status).toBeLessThan(300)
      for (const socket of sockets) expect(await closeCode(socket, 1000)).toBe(4001)
      await bystander.settled()
      for (const instance of [server, other]) {
        const late = await openSocket(instance, ann.accessToken)
        expect(await closeCode(late)).toBe(4001)
        expect(late.messages).toEqual([])
      }
    })

  test("a changed password closes every session's sockets but those of the one that changed it", async () => {
    const ann = await makeUser(server, tenant)
    const { body } = await login(server, ann.email)
    const kept = [await openSocket(server, ann.accessToken), await openSocket(other, ann.accessToken)]
    const ended = [await openSocket(server, body.access_token), await openSocket(other, body.access_token)]
    expect((await changePassword(ann)).status).toBe(204)
    for (const socket of ended) expect(await closeCode(socket, 1000)).toBe(4001)
    for (const socket of kept) await socket.settled()
    await (await openSocket(other, ann.accessToken)).next('connected')
  })

  test('signing out one device closes its sockets and no others', async () => {
    const ann = await makeUser(server, tenant)
    const { body } = await login(server, ann.email)
    const [kept, ended] = [
      await openSocket(other, ann.accessToken),
      await openSocket(other, body.access_token),
    ]
    const sessions = await createClient(server.url, body.access_token).get('/auth/sessions')
    const own = sessions.body.data.find(({ current }: { current: boolean }) => current)
    expect((await ann.api.delete(`/auth/sessions/${own.id}`)).status).toBe(204)
    expect(await closeCode(ended, 1000)).toBe(4001)
    await kept.settled()
  })

  test('of the old session does not close a socket that has a token of a new one', async () => {
    const ann = await makeUser(server, tenant)
    const { body } = await login(server, ann.email)
    const socket = await openSocket(other, ann.accessToken)
    socket.send('authenticate', { token: body.access_token })
    await socket.next('authenticated')
    const witness = await openSocket(other, ann.accessToken)
    expect((await ann.api.post('/auth/logout')).status).toBe(204)
    expect(await closeCode(witness, 1000)).toBe(4001)
    await socket.settled()
    await createClient(server.url, body.access_token).post('/auth/logout')
    expect(await closeCode(socket, 1000)).toBe(4001)
  })

  test('by a change of role: the refreshed token opens a socket with the new rights', async () => {
    const ann = await makeUser(server, tenant, { role: 'tenant_admin' })
    const { id } = await makeList(tenant.admin)
    const socket = await openSocket(server, ann.accessToken)
    await socket.follow(id)
    await tenant.admin.api.patch(`/users/${ann.id}`, { role: 'member' })
    expect(await closeCode(socket, 1000)).toBe(4001)
    await addItem(tenant.admin, id)
    const renewed = await openSocket(server, (await refresh(server, ann.refreshToken)).body.access_token)
    renewed.send('subscribe', { list_id: id })
    expect((await renewed.next('error')).payload.code).toBe('not_found')
    expect(socket.seqs(id)).toEqual([])
  })

  test('of a membership reaches a socket on another instance within a second, and nothing follows it', async () => {
    const [ann, ben] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    const { id } = await makeList(ann)
    await join(ann, id, ben)
    const socket: TestSocket = await openSocket(other, ben.accessToken)
    const witness = await openSocket(other, ann.accessToken)
    for (const follower of [socket, witness]) await follower.follow(id)
    await ann.api.delete(`/shopping-lists/${id}/members/${ben.id}`)
    await socket.next('unsubscribed', 1000)
    await addItem(ann, id)
    await witness.next('item_added')
    await socket.settled()
    expect(socket.events(id).map(({ type }) => type)).toEqual(['member_removed'])
  })
})
