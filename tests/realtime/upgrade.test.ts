/** An upgraded installation: nobody is signed out, and the release before runs beside it on the same Redis. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { createClient } from 'redis'
import { createOtps } from '../../src/features/auth/otp.ts'
import { createSessions, type Sessions } from '../../src/features/auth/sessions.ts'
import { deriveKey, mac } from '../../src/lib/keys.ts'
import { createRedisBroker } from '../../src/realtime/broker-redis.ts'
import { createHub, type Hub } from '../../src/realtime/hub.ts'
import type { OpenStore } from '../../src/store/open.ts'
import { asOwner } from '../access/isolation/tables.ts'
import { login, makeUnverified, refresh } from '../support/auth.ts'
import { createClient as createApi } from '../support/client.ts'
import { olderStore } from '../support/older-release.ts'
import { addItem, makeList, makeTenant, makeUser, type Tenant } from '../support/people.ts'
import { describeFull, startInstance, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'
import { sameInstallation } from './broker-suite.ts'

/** As the release before sent them. */
const forged = (seq: number) => ({ seq, type: 'item_added', userId: null, text: 'forged' })

const newPassword = 'a wholly different passphrase'

describeFull('after an upgrade', () => {
  let base: TestServer
  let server: TestServer
  let tenant: Tenant
  /** What an instance of the release before keeps its sessions, codes and reset tokens with. */
  let store: OpenStore
  let sessions: Sessions
  const keyFor = (purpose: string) => deriveKey(base.environment['JWT_SECRET_KEY'] ?? '', purpose)

  beforeAll(async () => {
    base = await startServer('full')
    await asOwner(base, (query) => query(sql`update installation set upgraded_as = current_database()`))
    server = await startInstance(base)
    tenant = await makeTenant(server)
    store = await olderStore(base.environment['REDIS_URL'] ?? '')
    sessions = createSessions(store, keyFor('refresh tokens'), 7 * 86_400, [], () => undefined)
  })
  afterAll(async () => {
    await store?.close()
    await server?.stop()
    await base?.stop()
  })

  test('a session goes on, whichever release it began on and each refresh reaches', async () => {
    const { id } = await makeUser(server, tenant)
    const begun = await sessions.begin({
      ...{ userId: id, tenantId: tenant.id, sessionEpoch: 0, tenantEpoch: 0 },
      ...{ address: '192.0.2.1', userAgent: 'before' },
    })
    let token = begun.refreshToken
    for (let round = 0; round < 3; round++) {
      const here = await refresh(server, token)
      expect(here.status).toBe(200)
      // The answer got lost: the other release gives the same one.
      expect(await sessions.rotate(token)).toMatchObject({ refreshToken: here.body.refresh_token })
      const there = await sessions.rotate(here.body.refresh_token)
      if (there.outcome !== 'rotated') throw new Error(there.outcome)
      token = there.refreshToken
    }
    expect(await sessions.list(id)).toHaveLength(2)
  })

  test('a sign-out on one release holds on the other', async () => {
    const one = await makeUser(server, tenant)
    expect(await sessions.find(one.refreshToken)).not.toBeNull()
    expect((await one.api.post('/auth/logout')).status).toBe(204)
    expect(await sessions.find(one.refreshToken)).toBeNull()

    const other = await makeUser(server, tenant)
    await sessions.endAll(other.id)
    expect((await refresh(server, other.refreshToken)).status).toBe(401)
  })

  test('its codes and reset links work once', async () => {
    const otps = createOtps(store, keyFor('one-time codes'), 600, [], () => undefined)
    const verify = (email: string, otp: string) =>
      createApi(server.url).post('/auth/verify-email', { email, otp })
    const newcomer = await makeUnverified(server, tenant)
    const code = await otps.issue(newcomer.id)
    // A newer code kills the older one.
    if (newcomer.code !== code) expect((await verify(newcomer.email, newcomer.code)).status).toBe(400)
    expect((await verify(newcomer.email, code)).status).toBe(200)
    await expect(otps.consume([{ userId: newcomer.id }], code)).rejects.toThrow('wrong, used or expired')

    // It kept the MAC of one link, as it is.
    const link = `${tenant.id}.${newcomer.id}.0.${'x'.repeat(43)}`
    await store.set(`password-reset:${newcomer.id}`, mac(keyFor('password resets'), link), 60)
    const reset = () =>
      createApi(server.url).post('/auth/reset-password', { token: link, new_password: newPassword })
    expect((await reset()).status).toBe(204)
    expect((await reset()).status).toBe(400)
    expect((await login(server, newcomer.email, newPassword)).status).toBe(200)
  })

  test('what the release before publishes has the database looked at, and is not delivered itself', async () => {
    const url = base.environment['REDIS_URL'] ?? ''
    const delivered: string[] = []
    const { db } = base.running.deps
    let looks = 0
    const hub: Hub = createHub({
      db: {
        ...db,
        read: (scope, statement) => {
          looks++
          return db.read(scope, statement)
        },
      },
      log: base.log,
      makeBroker: (handlers) =>
        createRedisBroker({ url, log: base.log, ...sameInstallation(true) }, handlers),
      publishToTopic: (_, text) => delivered.push(text),
      resyncText: () => 'resync',
      // Nothing but the hint can have it look.
      reconcileMs: 3_600_000,
    })
    const redis = createClient({ url })
    await redis.connect()
    try {
      const { id: listId } = await makeList(tenant.admin)
      const list = { tenantId: tenant.id, listId }
      const { leave, join } = await hub.open(list)
      const listener = {
        userId: tenant.admin.id,
        isStillAllowed: async () => true,
        onEvicted: () => undefined,
      }
      join(listener)
      const say = async (events: object[]) =>
        redis.publish(`minimart:list:${tenant.id}:${listId}`, JSON.stringify({ version: 1, list, events }))
      for (let seq = 1; seq <= 3; seq++) {
        await addItem(tenant.admin, listId, { name: `real ${seq}` })
        await say([forged(seq), { ...forged(seq + 1), type: 'member_removed', userId: tenant.admin.id }])
        await until(() => delivered.length === seq, 'the event from the database')
      }
      expect(delivered.map((text) => JSON.parse(text).payload.item.name)).toEqual([
        'real 1',
        'real 2',
        'real 3',
      ])
      expect(hub.counts()).toMatchObject({ healed: 3, delivered: 3, dropped: 0 })

      // However many there are, they are looked at together.
      await addItem(tenant.admin, listId, { name: 'real 4' })
      const before = looks
      for (let count = 0; count < 200; count++) await say([forged(9)])
      await until(() => delivered.length === 4, 'the event from the database')
      expect(looks - before).toBeLessThan(100)
      leave(listener)
    } finally {
      redis.destroy()
      await hub.close()
    }
  })
})
