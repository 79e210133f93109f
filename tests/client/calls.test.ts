import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createMiniMart, type MiniMart, newId } from '../../src/client/index.ts'
import { isUuid7 } from '../../src/lib/ids.ts'
import { eventsOf, typesOf } from '../support/history.ts'
import { makeTenant, makeUser, type Person, superAdmin, type Tenant } from '../support/people.ts'
import { type BadNetwork, startProxy } from '../support/proxy.ts'
import { describeService, sharedServer, type TestServer } from '../support/server.ts'
import { clientOf, quick } from './setup.ts'

describeService('calls of the client', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let proxy: BadNetwork
  let mart: MiniMart
  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'Ann' })
    proxy = await startProxy(server.url)
    mart = await clientOf(ann, proxy.url)
  })
  afterAll(() => proxy.stop())

  test('lists and items are created once, even if the responses are lost', async () => {
    const lost = proxy.loseAnswersTo('POST /api/v1/shopping-lists', 1)
    const list = await mart.lists.create({ name: 'Made once' })
    expect(lost()).toBe(1)
    const lostItems = proxy.loseAnswersTo(`POST /api/v1/shopping-lists/${list.id}/items`, 2)
    const milk = await mart.items.add(list.id, { name: 'Milk' })
    const more = await mart.items.addMany(list.id, [{ name: 'Bread' }, { name: 'Salt' }])
    expect(lostItems()).toBe(2)
    expect([milk, ...more].map(({ name }) => name)).toEqual(['Milk', 'Bread', 'Salt'])
    expect(typesOf(await eventsOf(ann, list.id))).toEqual(['item_added', 'item_added', 'item_added'])
    expect((await mart.lists.page()).data.filter(({ name }) => name === 'Made once')).toHaveLength(1)
  })

  test('a deletion may be repeated, by anyone', async () => {
    const list = await mart.lists.create({ name: 'Groceries' })
    const lost = proxy.loseAnswersTo('DELETE /api/v1/shopping-lists', 2)
    await mart.lists.delete(list.id)
    expect(lost()).toBe(2)
    await mart.lists.delete(list.id)
    expect(await mart.lists.get(list.id).catch(({ code }) => code)).toBe('not_found')
  })

  test('a change is retried only if the caller allows it', async () => {
    const list = await mart.lists.create({ name: 'Groceries' })
    const { id } = await mart.items.add(list.id, { name: 'Milk' })
    const lost = proxy.loseAnswersTo(`PATCH /api/v1/items/${id}`, 2)
    expect(await mart.items.change(id, { name: 'Oat milk' }).catch(({ code }) => code)).toBe('network_error')
    expect(lost()).toBe(1)
    const bought = await mart.items.change(id, { status: 'purchased' }, { retry: true })
    expect([lost(), bought.status, bought.name]).toEqual([2, 'purchased', 'Oat milk'])
  })

  test('a read waits for the network to come back, and gives up in the end', async () => {
    proxy.offline()
    const reading = mart.account.me()
    proxy.online()
    expect((await reading).id).toBe(ann.id)
    proxy.offline()
    const failure = await mart.account.me().catch((error: unknown) => error)
    expect(failure).toMatchObject({ status: 0, code: 'network_error', requestId: null })
    proxy.online()
  })

  test('a call ends when its caller aborts it, also while it waits to retry', async () => {
    proxy.offline()
    const aborter = new AbortController()
    const reading = mart.account.me({ signal: aborter.signal }).catch((error: unknown) => error)
    aborter.abort(new Error('gone elsewhere'))
    expect(await reading).toEqual(new Error('gone elsewhere'))
    proxy.online()
  })

  test('an error carries the problem the service returned', async () => {
    const list = await mart.lists.create({ name: 'Groceries' })
    const item = await mart.items.add(list.id, { name: 'Milk' })
    await mart.items.change(item.id, { name: 'Bread' })
    expect(
      await mart.items.change(item.id, { name: 'Salt' }, { ifMatch: 1 }).catch((error: unknown) => error),
    ).toMatchObject({ status: 412, code: 'version_mismatch', current: { name: 'Bread', version: 2 } })
    const invalid = await mart.items
      .add(list.id, { name: 'Milk', quantity: -1 })
      .catch((error: unknown) => error)
    expect(invalid).toMatchObject({ status: 422, code: 'invalid', errors: [{ field: 'quantity' }] })
    expect(invalid).toHaveProperty('requestId', expect.stringMatching(/./))
    expect(await mart.items.change(item.id, { name: 'Salt' }, { ifMatch: 2 })).toMatchObject({ version: 3 })
  })

  test('lists, members, invitations, users and tenants are covered', async () => {
    const ben = await makeUser(server, tenant, { name: 'Ben' })
    const guest = await clientOf(ben, server.url)
    const list = await mart.lists.create({ name: 'Groceries' })
    const { token } = await mart.invitations.invite(list.id, ben.email, 'viewer')
    expect(await createMiniMart({ baseUrl: server.url }).invitations.preview(token)).toMatchObject({
      list_name: 'Groceries',
    })
    expect((await guest.invitations.accept(token)).role).toBe('viewer')
    expect(await mart.members.change(list.id, ben.id, 'editor')).toMatchObject({ role: 'editor' })
    expect((await mart.members.page(list.id)).data.map(({ user_id }) => user_id)).toEqual([ann.id, ben.id])
    const { id } = await guest.items.add(list.id, { name: 'Milk' })
    await guest.items.change(id, { status: 'purchased' })
    expect((await mart.items.page(list.id, { status: 'purchased' })).data).toHaveLength(1)
    expect(await mart.items.clearPurchased(list.id)).toEqual({ deleted: 1 })
    expect((await mart.lists.events(list.id, { since: 1 })).data).toHaveLength(4)
    await mart.lists.delete(list.id)
    expect((await mart.lists.page({ deleted: true })).data.map((each) => each.id)).toContain(list.id)
    expect((await mart.lists.restore(list.id)).deleted_at).toBeNull()
    expect((await mart.users.page({ search: ben.email })).data).toHaveLength(1)
    expect((await mart.account.changeMe({ full_name: 'Ann B.' })).full_name).toBe('Ann B.')
    expect((await mart.account.sessions()).data.some(({ current }) => current)).toBe(true)
    const root = await clientOf(await superAdmin(server), server.url)
    expect(await root.tenants.get(tenant.id)).toMatchObject({ id: tenant.id, is_active: true })
  })

  test('an id made by the client is a UUIDv7 of the current time', () => {
    const ids = [newId(() => 1), newId(() => 2 ** 32), newId(() => 2 ** 44)]
    expect(ids.map(isUuid7)).toEqual([true, true, true])
    expect(ids.toSorted()).toEqual(ids)
    expect(
      Number.parseInt(
        newId(() => 1_790_000_000_123)
          .replaceAll('-', '')
          .slice(0, 12),
        16,
      ),
    ).toBe(1_790_000_000_123)
  })

  test('Retry-After is respected, up to a limit', async () => {
    const answers = [
      () => new Response('{"code":"busy","detail":"…"}', { status: 503, headers: { 'retry-after': '1' } }),
      () => new Response('{"data":[],"next_cursor":null}'),
      () => new Response('{"code":"busy","detail":"…"}', { status: 503, headers: { 'retry-after': '60' } }),
    ]
    let calls = 0
    const polite = await clientOf(ann, server.url, {
      fetch: async (url, init) =>
        url.includes('/users')
          ? (answers[calls++]?.() ?? new Response('', { status: 500 }))
          : fetch(url, init),
      timing: { ...quick, maxRetryAfterMs: 2000 },
    })
    const began = performance.now()
    expect(await polite.users.page()).toEqual({ data: [], next_cursor: null })
    expect(performance.now() - began).toBeGreaterThan(990)
    expect(await polite.users.page().catch(({ code, retryAfterMs }) => [code, retryAfterMs])).toEqual([
      'busy',
      60_000,
    ])
    expect(calls).toBe(3)
  })
})
