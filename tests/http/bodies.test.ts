/** Rules for every body: CONTRACT section 1, the rows on bodies, ids, times, text and addresses. */
import { expect, test } from 'bun:test'
import { createClient } from '../support/client.ts'
import {
  addItem,
  freshEmail,
  goodPassword,
  makeList,
  makeTenant,
  makeUser,
  type Person,
  superAdmin,
} from '../support/people.ts'
import { type Backend, describeService, oncePerBackend, sharedServer } from '../support/server.ts'

interface Setting {
  admin: Person
  root: Person
  listId: string
  itemId: string
}

const settingOf = oncePerBackend(makeSetting)

async function makeSetting(backend: Backend): Promise<Setting> {
  const server = await sharedServer(backend)
  const { admin } = await makeTenant(server, 'Bodies')
  const { id: listId } = await makeList(admin)
  const { id: itemId } = await addItem(admin, listId)
  return { admin, root: await superAdmin(server), listId, itemId }
}

const fieldsOf = (answer: { body: { errors: { field: string }[] } }): string[] =>
  answer.body.errors.map(({ field }) => field).sort()

describeService('every body', (backend) => {
  test('with an unknown field is refused by name, on every route that takes a body', async () => {
    const { admin, root, listId, itemId } = await settingOf(backend)
    const account = () => ({ email: freshEmail(), full_name: 'A', password: goodPassword })
    const anyone = createClient((await sharedServer(backend)).url)
    const calls = {
      login: (x: object) => anyone.post('/auth/login', { email: 'a@b.example', password: 'x', ...x }),
      resend: (x: object) => anyone.post('/auth/resend-otp', { email: 'a@b.example', ...x }),
      refresh: (x: object) => anyone.post('/auth/refresh', { refresh_token: 'x', ...x }),
      me: (x: object) => admin.api.patch('/auth/me', x),
      tenant: (x: object) => root.api.post('/tenants', { name: 'X', admin: account(), ...x }),
      user: (x: object) => admin.api.post('/users', { ...account(), ...x }),
      userChange: (x: object) => admin.api.patch(`/users/${admin.id}`, x),
      list: (x: object) => admin.api.post('/shopping-lists', { name: 'X', ...x }),
      listChange: (x: object) => admin.api.patch(`/shopping-lists/${listId}`, x),
      invite: (x: object) =>
        admin.api.post(`/shopping-lists/${listId}/invite`, { email: 'a@b.example', ...x }),
      item: (x: object) => admin.api.post(`/shopping-lists/${listId}/items`, { name: 'X', ...x }),
      itemChange: (x: object) => admin.api.patch(`/items/${itemId}`, x),
      accept: (x: object) => admin.api.post('/invitations/accept', { token: 'x', ...x }),
    }
    for (const [name, call] of Object.entries(calls))
      for (const field of [
        'colour',
        'tenant_id',
        'is_super',
        'constructor',
        'toString',
        'a/b',
        'a~b',
        'a.b',
      ]) {
        const answer = await call({ [field]: 1 })
        expect(answer.status, `${name} with ${field}`).toBe(422)
        expect(answer.body.code).toBe('invalid')
        expect(fieldsOf(answer), name).toEqual([field])
        expect(answer.body.errors[0].message.length).toBeGreaterThan(3)
      }
  })

  test('reports unknown nested fields by their full path', async () => {
    const { admin, root, listId } = await settingOf(backend)
    const account = { email: freshEmail(), full_name: 'A', password: goodPassword, role: 'super_admin' }
    expect(fieldsOf(await root.api.post('/tenants', { name: 'X', admin: account }))).toEqual(['admin.role'])
    const items = [{ name: 'A' }, { name: 'B', prize: 1 }, { name: 'C', quantity: -1 }]
    const answer = await admin.api.post(`/shopping-lists/${listId}/items`, { items })
    expect(fieldsOf(answer)).toEqual(['items.1.prize', 'items.2.quantity'])
  })

  test('cannot reach prototypes: __proto__ is an unknown field like any other', async () => {
    const { admin } = await settingOf(backend)
    const { url } = await sharedServer(backend)
    for (const text of ['{"name":"A","__proto__":{"id":"x"}}', '{"__proto__":{"name":"A"}}']) {
      const response = await fetch(`${url}/api/v1/shopping-lists`, {
        method: 'POST',
        headers: { authorization: `Bearer ${admin.accessToken}`, 'content-type': 'application/json' },
        body: text,
      })
      expect(response.status).toBe(422)
      expect(await response.text()).toContain('"field":"__proto__"')
    }
  })

  test('has its text trimmed and NFC-normalised', async () => {
    const { admin } = await settingOf(backend)
    const answer = await admin.api.post('/shopping-lists', {
      name: ' \t\n\u00a0Cafe\u0301 \u3000',
      description: '\n  two \r\nlines ',
    })
    expect(answer.body).toMatchObject({ name: 'Caf\u00e9', description: 'two \nlines' })
    const blank = await admin.api.post('/shopping-lists', { name: ' \u00a0 ' })
    expect(fieldsOf(blank)).toEqual(['name'])
  })

  test('must not contain control characters in text; notes and descriptions may have newlines', async () => {
    const { admin, listId } = await settingOf(backend)
    const add = (fields: object) =>
      admin.api.post(`/shopping-lists/${listId}/items`, { name: 'X', ...fields })
    for (const character of ['\0', '\u0007', '\b', '\x1b', '\x7f', '\u0085', '\u009f', '\r', '\t']) {
      expect(fieldsOf(await add({ name: `a${character}b` }))).toEqual(['name'])
      expect(fieldsOf(await add({ note: `a${character}b` }))).toEqual(['note'])
    }
    for (const field of ['name', 'unit', 'category'])
      expect(fieldsOf(await add({ [field]: 'a\nb' }))).toEqual([field])
    expect((await add({ note: 'a\nb\n\nc' })).body.note).toBe('a\nb\n\nc')
    const list = await admin.api.post('/shopping-lists', { name: 'X', description: 'a\nb' })
    expect(list.body.description).toBe('a\nb')
  })

  test('must not contain a lone surrogate', async () => {
    const { admin, listId } = await settingOf(backend)
    for (const half of ['\ud83d', '\udc4d', 'a\udc4d\ud83d'])
      for (const field of ['name', 'note', 'unit', 'category'])
        expect(
          fieldsOf(await admin.api.post(`/shopping-lists/${listId}/items`, { name: 'X', [field]: half })),
        ).toEqual([field])
  })

  test('has its text limited by code points, exactly', async () => {
    const { admin, listId } = await settingOf(backend)
    const limits = { name: 255, note: 2000, unit: 32, category: 64 }
    const add = (fields: object) =>
      admin.api.post(`/shopping-lists/${listId}/items`, { name: 'X', ...fields })
    for (const [field, limit] of Object.entries(limits)) {
      const fitting = `${'🛒'.repeat(limit - 1)}e\u0301`
      expect([...fitting.normalize('NFC')].length).toBe(limit)
      const kept = await add({ [field]: fitting })
      expect(kept.status, field).toBe(201)
      expect(kept.body[field]).toBe(fitting.normalize('NFC'))
      expect(fieldsOf(await add({ [field]: `${fitting}x` }))).toEqual([field])
    }
    const description = '🛒'.repeat(2000)
    const list = await admin.api.post('/shopping-lists', { name: '🛒'.repeat(255), description })
    expect(list.body.description).toBe(description)
  })

  test('may omit optional text, which is then null; null in a PATCH clears it', async () => {
    const { admin, listId } = await settingOf(backend)
    const item = await addItem(admin, listId, { name: 'Flour' })
    expect(item).toMatchObject({ unit: null, note: null, category: null })
    const filled = await admin.api.patch(`/items/${item.id}`, { unit: 'kg', note: 'a', category: 'b' })
    expect(filled.body).toMatchObject({ unit: 'kg', note: 'a', category: 'b', name: 'Flour' })
    const cleared = await admin.api.patch(`/items/${item.id}`, { unit: null, category: null })
    expect(cleared.body).toMatchObject({ unit: null, note: 'a', category: null })
    await admin.api.patch(`/shopping-lists/${listId}`, { description: 'words' })
    const list = await admin.api.patch(`/shopping-lists/${listId}`, { description: null })
    expect(list.body.description).toBeNull()
    for (const field of ['name', 'quantity', 'status', 'position'])
      expect(fieldsOf(await admin.api.patch(`/items/${item.id}`, { [field]: null }))).toEqual([field])
  })

  test('may name addresses in any case; they are the same address, stored in lower case', async () => {
    const { admin } = await settingOf(backend)
    const server = await sharedServer(backend)
    const user = await makeUser(server, { id: '', name: '', admin })
    const anyone = createClient(server.url)
    const login = { email: ` ${user.email.toUpperCase()} `, password: user.password }
    expect((await anyone.post('/auth/login', login)).body.user.email).toBe(user.email)
    const again = { email: user.email.toUpperCase(), full_name: 'Twin', password: goodPassword }
    expect((await admin.api.post('/users', again)).body).toMatchObject({ status: 409, code: 'email_taken' })
  })

  test('is answered with ids, times and media type in canonical form', async () => {
    const { admin, root, listId } = await settingOf(backend)
    const list = await admin.api.get(`/shopping-lists/${listId}`)
    const me = await admin.api.get('/auth/me')
    const tenants = await root.api.get('/tenants?limit=1')
    for (const thing of [list.body, list.body.items[0], me.body, tenants.body.data[0]]) {
      expect(thing.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(thing.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      expect(Math.abs(Date.parse(thing.created_at) - Date.now())).toBeLessThan(600_000)
      for (const name of Object.keys(thing)) expect(name).toMatch(/^[a-z]+(_[a-z]+)*$/)
    }
    expect(list.headers.get('content-type')).toBe('application/json')
    expect(list.headers.get('cache-control')).toBe('no-store')
  })
})
