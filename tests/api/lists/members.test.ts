/** Members: listing, roles, transfer of ownership, leaving and removal. */
import { beforeAll, expect, test } from 'bun:test'
import { eventsOf, outcome, refusedFields, typesOf } from '../../support/history.ts'
import { join, makeList, makeTenant, makeUser, type Person, type Tenant } from '../../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../../support/server.ts'

describeBackends('members', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let owner: Person
  let editor: Person
  let viewer: Person
  let stranger: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    owner = await makeUser(server, tenant, { name: 'olga' })
    editor = await makeUser(server, tenant, { name: 'ed' })
    viewer = await makeUser(server, tenant, { name: 'vic' })
    stranger = await makeUser(server, tenant, { name: 'sam' })
  })

  /** Its two members joined with events 1 and 2. */
  const sharedList = async (): Promise<string> => {
    const { id } = await makeList(owner)
    await join(owner, id, editor, 'editor')
    await join(owner, id, viewer, 'viewer')
    return id
  }
  const roles = async (listId: string): Promise<Record<string, string>> => {
    const { body } = await tenant.admin.api.get(`/shopping-lists/${listId}/members`)
    return Object.fromEntries(
      body.data.map((member: { user_id: string; role: string }) => [member.user_id, member.role]),
    )
  }
  const place = (listId: string, person: Person) => `/shopping-lists/${listId}/members/${person.id}`

  test('members and admins see the members in the order they joined, page by page', async () => {
    const id = await sharedList()
    for (const person of [owner, editor, viewer, tenant.admin]) {
      const { body } = await person.api.get(`/shopping-lists/${id}/members`)
      expect(body.data.map((member: { user_id: string }) => member.user_id)).toEqual(
        [owner, editor, viewer].map((member) => member.id),
      )
      expect(body.data[1]).toEqual({
        user_id: editor.id,
        full_name: 'ed',
        email: editor.email,
        role: 'editor',
        joined_at: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
      })
      expect(body.next_cursor).toBeNull()
    }
    const first = (await viewer.api.get(`/shopping-lists/${id}/members?limit=2`)).body
    const cursor = encodeURIComponent(first.next_cursor)
    const rest = (await viewer.api.get(`/shopping-lists/${id}/members?limit=2&cursor=${cursor}`)).body
    expect([first.data.length, rest.data[0].user_id, rest.next_cursor]).toEqual([2, viewer.id, null])
    const other = await sharedList()
    const foreign = await owner.api.get(`/shopping-lists/${other}/members?cursor=${cursor}`)
    expect([outcome(foreign), refusedFields(foreign)]).toEqual(['422 invalid', ['cursor']])
    expect(outcome(await stranger.api.get(`/shopping-lists/${id}/members`))).toBe('404 not_found')
  })

  test('the owner or an admin changes a role, as one event; the same role again makes none', async () => {
    const id = await sharedList()
    const changed = await owner.api.patch(place(id, editor), { role: 'viewer' })
    expect([changed.status, changed.body]).toMatchObject([200, { user_id: editor.id, role: 'viewer' }])
    const again = await owner.api.patch(place(id, editor), { role: 'viewer' })
    expect([again.status, again.body]).toEqual([200, changed.body])
    const back = await tenant.admin.api.patch(place(id, viewer), { role: 'editor' })
    expect(back.body.role).toBe('editor')
    const events = await eventsOf(owner, id, 2)
    expect(events.map(({ type, payload, actor_id }) => [type, payload, actor_id])).toEqual([
      ['member_updated', { list_id: id, member: changed.body }, owner.id],
      ['member_updated', { list_id: id, member: back.body }, tenant.admin.id],
    ])
    expect((await editor.api.post(`/shopping-lists/${id}/items`, { name: 'x' })).status).toBe(403)
    expect((await viewer.api.post(`/shopping-lists/${id}/items`, { name: 'x' })).status).toBe(201)
    expect((await owner.api.get(`/shopping-lists/${id}`)).body.version).toBe(1)
  })

  test('editors and viewers change nobody, strangers find nothing, and a non-member is not found', async () => {
    const id = await sharedList()
    for (const person of [editor, viewer]) {
      expect(outcome(await person.api.patch(place(id, person), { role: 'owner' }))).toBe('403 forbidden')
      expect(outcome(await person.api.patch(place(id, owner), { role: 'viewer' }))).toBe('403 forbidden')
      expect(outcome(await person.api.delete(place(id, owner)))).toBe('403 forbidden')
    }
    expect(outcome(await editor.api.delete(place(id, viewer)))).toBe('403 forbidden')
    expect(outcome(await stranger.api.patch(place(id, editor), { role: 'viewer' }))).toBe('404 not_found')
    expect(outcome(await stranger.api.delete(place(id, stranger)))).toBe('404 not_found')
    for (const role of ['viewer', 'owner'])
      expect(outcome(await owner.api.patch(place(id, stranger), { role }))).toBe('404 not_found')
    expect(outcome(await owner.api.delete(place(id, stranger)))).toBe('404 not_found')
    expect(outcome(await tenant.admin.api.delete(place(id, tenant.admin)))).toBe('404 not_found')
    for (const role of ['tenant_admin', '', null])
      expect(outcome(await owner.api.patch(place(id, editor), { role }))).toBe('422 invalid')
    expect(await eventsOf(owner, id)).toHaveLength(2)
  })

  test('handing a list over makes the old owner an editor, in three events and one new version', async () => {
    for (const by of [owner, tenant.admin]) {
      const id = await sharedList()
      const answer = await by.api.patch(place(id, viewer), { role: 'owner' })
      expect([answer.status, answer.body]).toMatchObject([200, { user_id: viewer.id, role: 'owner' }])
      expect(await roles(id)).toEqual({ [owner.id]: 'editor', [editor.id]: 'editor', [viewer.id]: 'owner' })
      const list = (await viewer.api.get(`/shopping-lists/${id}`)).body
      expect(list).toMatchObject({ owner_id: viewer.id, version: 2, seq: 5, role: 'owner' })
      const events = await eventsOf(viewer, id, 2)
      expect(typesOf(events)).toEqual(['member_updated', 'member_updated', 'list_updated'])
      const [gained, lost, updated] = events.map((event) => event.payload)
      expect(gained).toEqual({ list_id: id, member: answer.body })
      expect(lost).toMatchObject({
        list_id: id,
        member: { user_id: owner.id, role: 'editor', full_name: 'olga' },
      })
      const { role, members, items, position, ...fields } = list
      expect(updated).toEqual({ list_id: id, list: fields })
      expect(outcome(await owner.api.patch(`/shopping-lists/${id}`, { name: 'x' }))).toBe('403 forbidden')
      expect((await viewer.api.patch(`/shopping-lists/${id}`, { name: 'x' })).status).toBe(200)
    }
  })

  test('handing a list to its owner changes nothing; a deactivated member cannot own a list', async () => {
    const leaving = await makeUser(server, tenant)
    const id = await sharedList()
    await join(owner, id, leaving)
    await tenant.admin.api.delete(`/users/${leaving.id}`)
    expect((await owner.api.patch(place(id, owner), { role: 'owner' })).body.role).toBe('owner')
    expect(outcome(await owner.api.patch(place(id, leaving), { role: 'owner' }))).toBe(
      '409 member_deactivated',
    )
    expect((await owner.api.get(`/shopping-lists/${id}`)).body).toMatchObject({
      version: 1,
      seq: 3,
      owner_id: owner.id,
    })
  })

  test('the owner must hand the list over before leaving or stepping down, whoever asks', async () => {
    const id = await sharedList()
    for (const person of [owner, tenant.admin]) {
      expect(outcome(await person.api.delete(place(id, owner)))).toBe('409 owner_must_hand_over')
      for (const role of ['editor', 'viewer'])
        expect(outcome(await person.api.patch(place(id, owner), { role }))).toBe('409 owner_must_hand_over')
    }
    const alone = await makeList(owner)
    expect(outcome(await owner.api.delete(place(alone.id, owner)))).toBe('409 owner_must_hand_over')
    expect(await eventsOf(owner, id)).toHaveLength(2)
    await owner.api.patch(place(id, editor), { role: 'owner' })
    expect((await owner.api.delete(place(id, owner))).status).toBe(204)
    expect(await roles(id)).toEqual({ [editor.id]: 'owner', [viewer.id]: 'viewer' })
  })

  test('a member who leaves or is removed is gone immediately; the event says which', async () => {
    const id = await sharedList()
    expect((await viewer.api.delete(place(id, viewer))).status).toBe(204)
    expect(outcome(await viewer.api.get(`/shopping-lists/${id}`))).toBe('404 not_found')
    expect(outcome(await viewer.api.delete(place(id, viewer)))).toBe('404 not_found')
    expect((await owner.api.delete(place(id, editor))).status).toBe(204)
    expect(outcome(await editor.api.post(`/shopping-lists/${id}/items`, { name: 'x' }))).toBe('404 not_found')
    await join(owner, id, editor)
    expect((await tenant.admin.api.delete(place(id, editor))).status).toBe(204)
    const events = await eventsOf(owner, id, 2)
    expect(events.map(({ type, payload, actor_id }) => [type, payload, actor_id])).toEqual([
      ['member_left', { list_id: id, user_id: viewer.id }, viewer.id],
      ['member_removed', { list_id: id, user_id: editor.id }, owner.id],
      ['member_joined', { list_id: id, member: expect.objectContaining({ user_id: editor.id }) }, editor.id],
      ['member_removed', { list_id: id, user_id: editor.id }, tenant.admin.id],
    ])
    expect(await roles(id)).toEqual({ [owner.id]: 'owner' })
  })

  test('If-Match guards changes of members too', async () => {
    const id = await sharedList()
    const stale = { headers: { 'if-match': '"seq-1"' } }
    const refused = await owner.api.patch(place(id, viewer), { role: 'owner' }, stale)
    expect([outcome(refused), refused.body.current]).toMatchObject([
      '412 version_mismatch',
      { user_id: viewer.id },
    ])
    expect(outcome(await owner.api.delete(place(id, viewer), stale))).toBe('412 version_mismatch')
    const fresh = { headers: { 'if-match': '"seq-2"' } }
    expect((await owner.api.patch(place(id, viewer), { role: 'editor' }, fresh)).status).toBe(200)
  })
})
