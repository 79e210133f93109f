/** Creating, reading and changing a list. */
import { beforeAll, expect, test } from 'bun:test'
import { eventsOf, outcome, refusedFields, typesOf } from '../../support/history.ts'
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

describeBackends('lists', (backend) => {
  let server: TestServer
  let tenant: Tenant
  let ann: Person
  let ben: Person

  beforeAll(async () => {
    server = await sharedServer(backend)
    tenant = await makeTenant(server)
    ann = await makeUser(server, tenant, { name: 'Ann' })
    ben = await makeUser(server, tenant, { name: 'Ben' })
  })

  test('a new list has seq 0, version 1, its creator as owner, and no event', async () => {
    const made = await ann.api.post('/shopping-lists', { name: '  Cafe\u0301 ', description: 'a\nb' })
    expect(made.status).toBe(201)
    expect(made.headers.get('etag')).toBe('"1"')
    const list = made.body
    expect(Object.keys(list)).toEqual([
      'id',
      'name',
      'description',
      'owner_id',
      'seq',
      'version',
      'created_at',
      'updated_at',
      'deleted_at',
    ])
    expect(list).toMatchObject({
      name: 'Caf\u00e9',
      description: 'a\nb',
      owner_id: ann.id,
      seq: 0,
      version: 1,
    })
    expect(list).toMatchObject({ deleted_at: null, updated_at: list.created_at })
    expect(list.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
    expect(list.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(await eventsOf(ann, list.id)).toEqual([])
    const read = await ann.api.get(`/shopping-lists/${list.id}`)
    expect(read.body).toMatchObject({ ...list, role: 'owner', items: [] })
    expect(read.body.members).toMatchObject([
      { user_id: ann.id, full_name: 'Ann', email: ann.email.toLowerCase(), role: 'owner' },
    ])
    for (const bare of [{}, { description: '' }])
      expect(await ann.api.post('/shopping-lists', { name: 'Bare', ...bare })).toMatchObject({
        body: { description: null },
      })
  })

  test('an invalid list is refused, each field by its name', async () => {
    const refused = async (body: Record<string, unknown>): Promise<string[]> => {
      const answer = await ann.api.post('/shopping-lists', body)
      expect(outcome(answer)).toBe('422 invalid')
      return refusedFields(answer)
    }
    expect(await refused({})).toEqual(['name'])
    expect(await refused({ name: '   ' })).toEqual(['name'])
    expect(await refused({ name: null })).toEqual(['name'])
    expect(await refused({ name: '🛒'.repeat(256) })).toEqual(['name'])
    expect(await refused({ name: 'two\nlines' })).toEqual(['name'])
    expect(await refused({ name: 'a', description: 'x'.repeat(2001) })).toEqual(['description'])
    expect(await refused({ name: 'a', owner_id: ben.id })).toEqual(['owner_id'])
    expect(await refused({ name: 'a', id: crypto.randomUUID() })).toEqual(['id'])
    expect(await refused({ name: 'a', id: Bun.randomUUIDv7().toUpperCase() })).toEqual(['id'])
    expect((await ann.api.post('/shopping-lists', { name: '🛒'.repeat(255) })).status).toBe(201)
  })

  test('repeating the request with the same id returns the existing list and changes nothing, even later', async () => {
    const id = Bun.randomUUIDv7()
    const first = await ann.api.post('/shopping-lists', { id, name: 'Camping', description: 'tent' })
    expect(first.status).toBe(201)
    expect(first.body.id).toBe(id)
    const again = await ann.api.post('/shopping-lists', { id, name: 'Camping', description: 'tent' })
    expect(again.status).toBe(200)
    expect(again.body).toEqual(first.body)

    const renamed = await ann.api.patch(`/shopping-lists/${id}`, { name: 'Sailing' })
    const late = await ann.api.post('/shopping-lists', { id, name: 'Camping' })
    expect([late.status, late.headers.get('etag')]).toEqual([200, '"2"'])
    expect(late.body).toEqual(renamed.body)
    expect(typesOf(await eventsOf(ann, id))).toEqual(['list_updated'])
  })

  test("another user's id conflicts, a deleted one is reported, and another tenant's is free", async () => {
    const id = Bun.randomUUIDv7()
    await ann.api.post('/shopping-lists', { id, name: 'Mine' })
    expect(outcome(await ben.api.post('/shopping-lists', { id, name: 'Mine' }))).toBe('409 id_conflict')
    expect(outcome(await tenant.admin.api.post('/shopping-lists', { id, name: 'Mine' }))).toBe(
      '409 id_conflict',
    )

    const elsewhere = await makeTenant(server)
    const theirs = await elsewhere.admin.api.post('/shopping-lists', { id, name: 'Theirs' })
    expect(theirs.status).toBe(201)
    expect(theirs.body).toMatchObject({ id, name: 'Theirs', seq: 0, version: 1 })
    expect((await ann.api.get(`/shopping-lists/${id}`)).body.name).toBe('Mine')

    await ann.api.delete(`/shopping-lists/${id}`)
    expect(outcome(await ann.api.post('/shopping-lists', { id, name: 'Mine' }))).toBe('409 id_deleted')
    expect((await elsewhere.admin.api.get(`/shopping-lists/${id}`)).status).toBe(200)
  })

  test('a creator who handed the list over and left cannot read it by repeating the request', async () => {
    const id = Bun.randomUUIDv7()
    await ann.api.post('/shopping-lists', { id, name: 'Was mine' })
    await join(ann, id, ben)
    await ann.api.patch(`/shopping-lists/${id}/members/${ben.id}`, { role: 'owner' })
    expect((await ann.api.post('/shopping-lists', { id, name: 'Was mine' })).status).toBe(200)
    await ann.api.delete(`/shopping-lists/${id}/members/${ann.id}`)
    const late = await ann.api.post('/shopping-lists', { id, name: 'Was mine' })
    expect(outcome(late)).toBe('409 id_conflict')
    expect(late.text).not.toContain(ben.id)
  })

  test('an unchanged list answers 304, by its position', async () => {
    const { id } = await makeList(ann)
    const read = (tag: string) => ann.api.get(`/shopping-lists/${id}`, { headers: { 'if-none-match': tag } })
    const full = await ann.api.get(`/shopping-lists/${id}`)
    expect(full.headers.get('etag')).toBe('"seq-0"')
    for (const tag of ['"seq-0"', 'W/"seq-0"', '"seq-9", "seq-0"', '*']) {
      const same = await read(tag)
      expect([same.status, same.text, same.headers.get('etag')]).toEqual([304, '', '"seq-0"'])
    }
    for (const tag of ['"1"', '"seq-00"', '"seq-1"', '"xseq-0"', '"*"'])
      expect((await read(tag)).status).toBe(200)
    for (const tag of ['seq-0', '"seq-0', '"seq-0", x', ''])
      expect([tag, outcome(await read(tag))]).toEqual([tag, '422 invalid'])
    await addItem(ann, id)
    const changed = await read('"seq-0"')
    const { items, position } = changed.body
    expect([changed.status, changed.headers.get('etag')]).toEqual([200, `"seq-${position}"`])
    expect(position).toMatch(/^1\.[0-9a-f]{8}$/)
    expect(items).toHaveLength(1)
    // What a proxy that compresses makes of the tag.
    for (const added of ['', '-gzip', '-br', '-zstd', ';gzip'])
      for (const weak of ['', 'W/']) expect((await read(`${weak}"seq-${position}${added}"`)).status).toBe(304)
    // The number alone may be that of another history.
    for (const other of ['seq-1', 'seq-1.00000000']) expect((await read(`"${other}"`)).status).toBe(200)
    for (const tag of [`"seq-${position}"`, '*']) {
      const stranger = await ben.api.get(`/shopping-lists/${id}`, { headers: { 'if-none-match': tag } })
      expect(outcome(stranger)).toBe('404 not_found')
    }
  })

  test('everyone reads their own role on the list; an admin who is no member reads tenant_admin', async () => {
    const { id } = await makeList(ann)
    await join(ann, id, ben, 'viewer')
    const roleOf = async (person: Person) => (await person.api.get(`/shopping-lists/${id}`)).body.role
    expect(await Promise.all([ann, ben, tenant.admin].map(roleOf))).toEqual([
      'owner',
      'viewer',
      'tenant_admin',
    ])
    await join(ann, id, tenant.admin, 'editor')
    expect(await roleOf(tenant.admin)).toBe('editor')
  })

  test('a change increments version and seq, sets updated_at, and is one event with the whole list', async () => {
    const made = (await ann.api.post('/shopping-lists', { name: 'A', description: 'about' })).body
    const path = `/shopping-lists/${made.id}`
    const changed = await ann.api.patch(path, { name: 'B', description: null })
    expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"2"'])
    expect(changed.body).toMatchObject({ name: 'B', description: null, version: 2, seq: 1 })
    expect(changed.body.updated_at > made.updated_at).toBe(true)
    const partial = await tenant.admin.api.patch(path, { description: 'by the admin' })
    expect(partial.body).toMatchObject({ name: 'B', description: 'by the admin', version: 3, seq: 2 })
    const events = await eventsOf(ann, made.id)
    expect(events.map(({ type, actor_id }) => [type, actor_id])).toEqual([
      ['list_updated', ann.id],
      ['list_updated', tenant.admin.id],
    ])
    expect(events.map(({ payload }) => payload)).toEqual([
      { list_id: made.id, list: changed.body },
      { list_id: made.id, list: partial.body },
    ])
  })

  test('a change without effect makes no event and no new version', async () => {
    const made = (await ann.api.post('/shopping-lists', { name: 'Same' })).body
    for (const change of [
      {},
      { name: 'Same' },
      { name: ' Same ', description: null },
      { description: null },
    ]) {
      const answer = await ann.api.patch(`/shopping-lists/${made.id}`, change)
      expect([answer.status, answer.headers.get('etag')]).toEqual([200, '"1"'])
      expect(answer.body).toEqual(made)
    }
    expect(await eventsOf(ann, made.id)).toEqual([])
  })

  test("If-Match guards a change and a deletion, by the list's version or its position", async () => {
    const { id } = await makeList(ann, 'Guarded')
    await addItem(ann, id)
    const path = `/shopping-lists/${id}`
    const withTag = (tag: string) => ({ headers: { 'if-match': tag } })
    const never = ['"01"', '"001"', '"1.0"', '"+1"', '"seq-01"', '"SEQ-1"', '"nonsense"', '""', '"1-xz"']
    for (const stale of ['"2"', '"seq-0"', '"seq-2"', '"seq-1.00000000"', ...never])
      for (const answer of [
        await ann.api.patch(path, { name: 'Lost' }, withTag(stale)),
        await ann.api.delete(path, withTag(stale)),
      ]) {
        expect(outcome(answer)).toBe('412 version_mismatch')
        expect(answer.body.current).toMatchObject({ id, name: 'Guarded', version: 1, seq: 1 })
        expect(answer.headers.get('etag')).toBe('"1"')
      }
    for (const answer of [
      await ann.api.patch(path, { name: 'Lost' }, withTag('1')),
      await ann.api.delete(path, withTag('seq-1')),
    ])
      expect([outcome(answer), refusedFields(answer)]).toEqual(['422 invalid', ['If-Match']])
    expect((await ann.api.patch(path, { name: 'One' }, withTag('"1"'))).body).toMatchObject({
      version: 2,
      seq: 2,
    })
    expect((await ann.api.patch(path, { name: 'Two' }, withTag('"seq-2"'))).body).toMatchObject({
      version: 3,
    })
    expect((await ann.api.patch(path, { name: 'Three' }, withTag('"9", W/"3-gzip"'))).status).toBe(200)
    expect((await ann.api.patch(path, { name: 'Four' }, withTag('*'))).status).toBe(200)
    const { position } = (await ann.api.get(path)).body
    expect((await ann.api.patch(path, { name: 'Five' }, withTag(`"seq-${position}-br"`))).status).toBe(200)
    expect((await ann.api.delete(path, withTag('"seq-6"'))).status).toBe(204)
  })

  test('only the owner and an admin change or delete; other members get 403, strangers 404', async () => {
    const { id } = await makeList(ann)
    const [editor, viewer] = [await makeUser(server, tenant), await makeUser(server, tenant)]
    await join(ann, id, editor, 'editor')
    await join(ann, id, viewer, 'viewer')
    const path = `/shopping-lists/${id}`
    for (const [person, expected] of [
      [editor, '403 forbidden'],
      [viewer, '403 forbidden'],
      [ben, '404 not_found'],
    ] as const) {
      expect(outcome(await person.api.patch(path, { name: 'Hijacked' }))).toBe(expected)
      expect(outcome(await person.api.delete(path))).toBe(expected)
      expect(outcome(await person.api.post(`${path}/restore`))).toBe(expected)
    }
    expect((await ann.api.get(path)).body).toMatchObject({ name: 'Groceries', seq: 2 })
  })
})
