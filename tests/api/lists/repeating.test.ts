/** Calls with an `Idempotency-Key`, whose answers were lost and that are sent again. */
import { beforeAll, expect, test } from 'bun:test'
import { signInvitation } from '../../../src/features/invitations/token.ts'
import { newId } from '../../../src/lib/ids.ts'
import type { Answer } from '../../support/client.ts'
import { eventsOf, outcome, refusedFields } from '../../support/history.ts'
import {
  addItem,
  join,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  type Tenant,
} from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'
import { until } from '../../support/until.ts'

describeBackends('a keyed call', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let ben: Person
  let id: string
  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = tenant.admin
    ben = await makeUser(server, tenant, { name: 'Ben' })
    id = (await makeList(ann)).id
    await join(ann, id, ben)
  })

  const withKey = (key: string, more: Record<string, string> = {}) => ({
    headers: { 'idempotency-key': key, ...more },
  })
  const lastSeq = async (list = id) => (await eventsOf(ann, list)).length

  /** Sends it twice. The second answer must be like the first, but 200 for 201, and there must be no more events. */
  const twice = async (
    call: (key: string) => Promise<Answer>,
    list = id,
  ): Promise<[Answer, Answer, string]> => {
    const key = newId()
    const first = await call(key)
    const seq = await lastSeq(list)
    const second = await call(`"${key.toUpperCase()}"`)
    expect([first.status < 300, outcome(second)]).toEqual([true, first.status === 204 ? '204' : '200'])
    expect(await lastSeq(list)).toBe(seq)
    expect((await eventsOf(ann, list)).at(-1)).toMatchObject({ action_id: key })
    return [first, second, key]
  }

  test('that adds items, changes, buys and deletes them is done once', async () => {
    const path = `/shopping-lists/${id}/items`
    const [one, sameOne] = await twice((key) => ben.api.post(path, { name: 'Milk' }, withKey(key)))
    expect([one.status, sameOne.text]).toEqual([201, one.text])
    const items = [{ name: 'Bread' }, { name: 'Butter', id: newId() }, { name: 'Salt' }]
    const [many, sameMany] = await twice((key) => ben.api.post(path, { items }, withKey(key)))
    expect([many.status, sameMany.text]).toEqual([201, many.text])
    const milk = `/items/${one.body.id}`
    const [bought, again, key] = await twice((key) =>
      ben.api.patch(milk, { status: 'purchased' }, withKey(key, { 'if-match': '"1"' })),
    )
    expect(again.text).toBe(bought.text)
    await ann.api.patch(milk, { note: 'later' })
    // As it is now, though the precondition no longer holds.
    const late = await ben.api.patch(milk, { status: 'purchased' }, withKey(key, { 'if-match': '"1"' }))
    expect([late.status, late.body.note, late.body.version]).toEqual([200, 'later', 3])
    const [cleared, sameCleared] = await twice((key) =>
      ben.api.post(`${path}/clear-purchased`, {}, withKey(key)),
    )
    expect([cleared.body, sameCleared.body]).toEqual([{ deleted: 1 }, { deleted: 1 }])
    await twice((key) => ben.api.delete(`/items/${many.body.data[0].id}`, withKey(key)))
  })

  test('that adds an item which is deleted since is told so', async () => {
    const [key, path] = [newId(), `/shopping-lists/${id}/items`]
    const { body } = await ben.api.post(path, { name: 'Gone' }, withKey(key))
    await ann.api.delete(`/items/${body.id}`)
    expect(outcome(await ben.api.post(path, { name: 'Gone' }, withKey(key)))).toBe('409 id_deleted')
  })

  test('that makes, changes, deletes and restores a list is done once', async () => {
    const key = newId()
    const made = await ben.api.post('/shopping-lists', { name: 'Weekend' }, withKey(key))
    const again = await ben.api.post('/shopping-lists', { name: 'Weekend' }, withKey(key))
    expect([made.status, again.status, again.text]).toEqual([201, 200, made.text])
    const list = made.body.id
    const path = `/shopping-lists/${list}`
    await twice((key) => ben.api.patch(path, { name: 'Party' }, withKey(key)), list)
    const deletion = newId()
    expect((await ben.api.delete(path, withKey(deletion))).status).toBe(204)
    expect((await ben.api.delete(path, withKey(deletion))).status).toBe(204)
    expect(outcome(await ben.api.delete(path, withKey(newId())))).toBe('404 not_found')
    const lost = await ben.api.post('/shopping-lists', { name: 'Weekend' }, withKey(key))
    expect(outcome(lost)).toBe('409 id_deleted')
    await twice((key) => ben.api.post(`${path}/restore`, {}, withKey(key)), list)
  })

  test('that changes members, joins or leaves is done once', async () => {
    const eve = await makeUser(server, tenant, { name: 'Eve' })
    const { token } = (await ann.api.post(`/shopping-lists/${id}/invite`, { email: eve.email })).body
    const [joined, stillJoined, accepted] = await twice((key) =>
      eve.api.post('/invitations/accept', { token }, withKey(key)),
    )
    expect(stillJoined.body).toEqual(joined.body)
    expect(outcome(await eve.api.post('/invitations/accept', { token }))).toBe('409 invitation_spent')
    const path = `/shopping-lists/${id}/members/${eve.id}`
    const [viewer, same, key] = await twice((key) => ann.api.patch(path, { role: 'viewer' }, withKey(key)))
    expect(same.text).toBe(viewer.text)
    await twice((key) => eve.api.delete(path, withKey(key)))
    expect(outcome(await ann.api.patch(path, { role: 'viewer' }, withKey(key)))).toBe('404 not_found')
    expect(outcome(await eve.api.post('/invitations/accept', { token }, withKey(accepted)))).toBe(
      '404 not_found',
    )
    await join(ann, id, eve)
    await twice((key) => ann.api.delete(path, withKey(key)))
  })

  test('that joined is recognised after the invitation has expired', async () => {
    const eve = await makeUser(server, tenant)
    const invited = {
      tenantId: tenant.id,
      listId: id,
      email: eve.email,
      role: 'editor',
      inviterId: ann.id,
    } as const
    const token = await signInvitation(server.running.deps.jwt, invited, 2)
    const key = newId()
    const accept = (options = {}) => eve.api.post('/invitations/accept', { token }, options)
    expect((await accept(withKey(key))).status).toBe(200)
    await until(async () => outcome(await accept()) === '410 invitation_expired', 'the end of the invitation')
    expect(outcome(await accept(withKey(newId())))).toBe('410 invitation_expired')
    expect((await accept(withKey(key))).status).toBe(200)
  })

  test('by somebody who may no longer see the list finds nothing', async () => {
    const { id: list } = await makeList(ann)
    const eve = await makeUser(server, tenant)
    await join(ann, list, eve)
    const [key, path] = [newId(), `/shopping-lists/${list}/items`]
    const { body } = await eve.api.post(path, { name: 'Milk' }, withKey(key))
    const deletion = newId()
    await eve.api.delete(`/items/${body.id}`, withKey(deletion))
    await ann.api.delete(`/shopping-lists/${list}/members/${eve.id}`)
    expect(outcome(await eve.api.post(path, { name: 'Milk' }, withKey(key)))).toBe('404 not_found')
    expect(outcome(await eve.api.delete(`/items/${body.id}`, withKey(deletion)))).toBe('404 not_found')
  })

  test('is refused when the key was used for another call', async () => {
    const [key, path] = [newId(), `/shopping-lists/${id}/items`]
    const milk = (await ben.api.post(path, { name: 'Milk' }, withKey(key))).body
    const { id: other } = await makeList(ben)
    const seq = await lastSeq()
    for (const answer of [
      await ben.api.post(path, { name: 'Bread' }, withKey(key)),
      await ben.api.post(`/shopping-lists/${other}/items`, { name: 'Milk' }, withKey(key)),
      await ben.api.patch(`/items/${milk.id}`, { name: 'Bread' }, withKey(key)),
      await ben.api.post('/shopping-lists', { name: 'Milk' }, withKey(key)),
    ])
      expect(outcome(answer)).toBe('409 idempotency_conflict')
    expect([await lastSeq(), await lastSeq(other)]).toEqual([seq, 0])
  })

  test('that was refused or changed nothing leaves the key free', async () => {
    const milk = await addItem(ann, id, { name: 'Milk' })
    const [key, path] = [newId(), `/items/${milk.id}`]
    const stale = await ben.api.patch(path, { note: 'x' }, withKey(key, { 'if-match': '"9"' }))
    expect(outcome(stale)).toBe('412 version_mismatch')
    expect((await ben.api.patch(path, { name: 'Milk' }, withKey(key))).status).toBe(200)
    expect((await ben.api.patch(path, { note: 'y' }, withKey(key))).body.note).toBe('y')
  })

  test("has an id of the service's own for its events where another user has taken the key", async () => {
    const [key, path] = [newId(), `/shopping-lists/${id}/items`]
    await ann.api.post(path, { name: 'Milk' }, withKey(key))
    expect((await ben.api.post(path, { name: 'Bread' }, withKey(key))).status).toBe(201)
    const [milk, bread] = (await eventsOf(ann, id)).slice(-2)
    expect(milk?.action_id).toBe(key)
    expect(bread?.action_id).not.toBe(key)
    expect((await ben.api.post(path, { name: 'Bread' }, withKey(key))).status).toBe(200)
  })

  test('must have a UUIDv7 as its key', async () => {
    for (const key of ['1', '', '"', crypto.randomUUID(), `${newId()} `.repeat(2), `'${newId()}'`]) {
      const answer = await ben.api.post(`/shopping-lists/${id}/items`, { name: 'Milk' }, withKey(key))
      expect([key, outcome(answer), refusedFields(answer)]).toEqual([key, '422 invalid', ['Idempotency-Key']])
    }
    expect((await ben.api.get(`/shopping-lists/${id}`, withKey('1'))).status).toBe(200)
  })

  test('sent many times at once, also to two lists, is done once', async () => {
    const [one, two] = [(await makeList(ben)).id, (await makeList(ben)).id]
    const key = newId()
    const answers = await Promise.all(
      [one, two, one, two, one, two].map((list) =>
        ben.api.post(`/shopping-lists/${list}/items`, { name: 'Milk' }, withKey(key)),
      ),
    )
    expect(answers.map(outcome).filter((one) => one === '201')).toHaveLength(1)
    expect(new Set(answers.map(outcome))).toEqual(new Set(['201', '200', '409 idempotency_conflict']))
    expect((await eventsOf(ben, one)).length + (await eventsOf(ben, two)).length).toBe(1)
  })
})
