/**
 * Two tenants with the same data. Whatever one requests of the other gets, byte for byte, the answer for something that
 * does not exist, and changes nothing. The attempts are generated from the routes, their fields and the socket's
 * messages.
 */
import { afterAll, expect, test } from 'bun:test'
import { superAdmin } from '../../support/people.ts'
import { describeBackends } from '../../support/server.ts'
import { closeSockets } from '../../support/socket.ts'
import { ask, runAll } from './attack.ts'
import { aimedFields, casesOfFields, fieldAttempts } from './fields.ts'
import { casesOfMessages, messageAttempts } from './messages.ts'
import { foreignIds, mirrorOn, roles, secretsOf } from './mirror.ts'
import { pathAttempts, routesWithIds } from './paths.ts'
import { subscribersOf } from './subscribers.ts'
import { messageFields } from './surface.ts'
import { checksum } from './tables.ts'
import { twinAttempts } from './twins.ts'

test('every field of every route is declared plain or has a case, and no case is left over', () => {
  expect(casesOfFields()).toEqual(aimedFields)
})

test('every field of every client message has a case', () => {
  expect(casesOfMessages().sort()).toEqual(messageFields.toSorted())
})

describeBackends('tenant isolation', (backend) => {
  afterAll(closeSockets)

  test('both tenants hold the same rows in every table with tenants', async () => {
    const { server, mine, theirs } = await mirrorOn(backend)
    const rowsOf = async (half: typeof mine) => {
      // Attacks by the files before may have been refused in the one tenant's name.
      const { sessions, refusal_counts, ...sums } = await checksum(server, half)
      return Object.entries(sums).map(([name, sum]) => ({ name, rows: Number(sum.split(' ')[0]) }))
    }
    const ours = await rowsOf(mine)
    expect(ours).toEqual(await rowsOf(theirs))
    expect(ours.filter(({ rows }) => rows === 0)).toEqual([])
  })

  test('on every route an id of another tenant answers like an unknown one and changes nothing', async () => {
    const mirror = await mirrorOn(backend)
    const { server, mine, theirs } = mirror
    const before = [await checksum(server, theirs), await checksum(server, mine)]
    const attempts = pathAttempts(mirror, roles)
    expect(attempts.length).toBeGreaterThan(routesWithIds.length * roles.length * 8)
    expect(await runAll(attempts, secretsOf(theirs))).toEqual([])
    expect([await checksum(server, theirs), await checksum(server, mine)]).toEqual(before)
  })

  test("another tenant's address, token, id or cursor in a field has no more effect than an unknown one", async () => {
    const mirror = await mirrorOn(backend)
    const before = await checksum(mirror.server, mirror.theirs)
    expect(await runAll(await fieldAttempts(mirror), secretsOf(mirror.theirs))).toEqual([])
    expect(await checksum(mirror.server, mirror.theirs)).toEqual(before)
  })

  test("an id that exists in both tenants always means the caller's own thing", async () => {
    const mirror = await mirrorOn(backend)
    const { server, mine, theirs } = mirror
    const subscribers = await subscribersOf(mirror)
    const before = await checksum(server, theirs)
    expect(await runAll(twinAttempts(mirror), secretsOf(theirs))).toEqual([])
    expect(await checksum(server, theirs)).toEqual(before)
    expect(await subscribers.faults()).toEqual([])
    // And the reverse: what they do with it reaches only them.
    await theirs.people.owner.api.patch(`/items/${theirs.twin.item}`, { note: 'theirs' })
    expect((await subscribers.theirs.next('item_updated')).payload.item.note).toBe('theirs')
    expect(await subscribers.faults()).toEqual([])
    const { body } = await mine.people.owner.api.get(`/shopping-lists/${mine.twin.list}`)
    expect(body.items.map(({ note }: { note: string | null }) => note)).toEqual([null, null])
  })

  test("the socket answers for another tenant's ids as for unknown ones", async () => {
    const mirror = await mirrorOn(backend)
    const before = await checksum(mirror.server, mirror.theirs)
    const { attempts, strayMessages } = await messageAttempts(mirror, roles)
    expect(await runAll(attempts, secretsOf(mirror.theirs))).toEqual([])
    // Anyone wrongly subscribed would receive this.
    const { owner } = mirror.theirs.people
    await owner.api.patch(`/items/${mirror.theirs.own.item}`, { note: 'heard' })
    await owner.api.patch(`/items/${mirror.theirs.own.item}`, { note: null })
    expect(await strayMessages()).toEqual([])
    expect(await checksum(mirror.server, mirror.theirs)).not.toEqual(before)
  })

  test('no page shows anything of another tenant', async () => {
    const { server, mine, theirs } = await mirrorOn(backend)
    const found: string[] = []
    for (const role of roles)
      for (const path of [
        ...['/shopping-lists', '/shopping-lists?deleted=true', '/users', '/users?search=owner', '/auth/me'],
        ...(role === 'admin' ? ['/shopping-lists?scope=all', '/shopping-lists?deleted=true&scope=all'] : []),
        '/auth/sessions',
      ]) {
        const { code, text } = await ask(
          server,
          mine.people[role],
          { method: 'GET', path: `/api/v1${path}` },
          {},
        )
        expect(code).toBe('200')
        found.push(...secretsOf(theirs).filter((secret) => text.includes(secret)))
      }
    expect(found).toEqual([])
  })

  test('a super admin sees no list and no item, and cannot tell whether one exists', async () => {
    const { server, theirs } = await mirrorOn(backend)
    const root = await superAdmin(server)
    const { own, people } = theirs
    const ofRoute = (method: string, path: string, first: string, second: string) => {
      const ids = [first, second]
      const filled = path.replace(/:\w+/g, () => ids.shift() ?? '')
      const body = method === 'GET' || method === 'DELETE' ? undefined : { name: 'x' }
      return ask(server, root, { method, path: filled, body }, { first, second })
    }
    for (const { method, path, name } of routesWithIds.filter(({ path }) =>
      /\/(shopping-lists|items)\//.test(path),
    )) {
      const id = path.includes('/items/:id') ? own.item : own.list
      const real = await ofRoute(method, path, id, people.viewer.id)
      expect([name, real.status, JSON.parse(real.body).code]).toEqual([name, 403, 'forbidden'])
      const nowhere = await ofRoute(method, path, Bun.randomUUIDv7(), Bun.randomUUIDv7())
      expect([name, real.text]).toEqual([name, nowhere.text])
    }
    for (const path of ['/shopping-lists', '/shopping-lists?scope=all'])
      expect((await root.api.get(path)).status).toBe(403)
    expect((await root.api.post('/shopping-lists', { name: 'x' })).status).toBe(403)
    expect((await root.api.post('/invitations/accept', { token: theirs.invitation })).status).toBe(403)
  })

  test("the other tenant's own users still see everything", async () => {
    const { theirs } = await mirrorOn(backend)
    const { body } = await theirs.people.owner.api.get(`/shopping-lists/${theirs.own.list}`)
    expect(body.items.map(({ name }: { name: string }) => name)).toEqual(['Milk', 'Bread'])
    expect(Object.values(foreignIds(theirs)).every((id) => id.length === 36)).toBe(true)
  })
})
