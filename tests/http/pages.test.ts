/** Pagination: limits, cursors, and no duplicates or gaps during writes. */
import { expect, test } from 'bun:test'
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

interface Pages {
  root: Person
  admin: Person
  member: Person
  otherAdmin: Person
  listId: string
}

const pagesOf = oncePerBackend(preparePages)

async function preparePages(backend: Backend): Promise<Pages> {
  const server = await sharedServer(backend)
  const tenant = await makeTenant(server, 'Pages')
  const other = await makeTenant(server, 'Other pages')
  for (const { admin } of [tenant, other])
    for (const name of ['Bo', 'Cy', 'Di', 'Ed']) await addUser(admin, name)
  const { id: listId } = await makeList(tenant.admin)
  for (let number = 0; number < 7; number++) await addItem(tenant.admin, listId, { name: `Item ${number}` })
  return {
    root: await superAdmin(server),
    admin: tenant.admin,
    member: await makeUser(server, tenant),
    otherAdmin: other.admin,
    listId,
  }
}

async function addUser(admin: Person, name: string): Promise<string> {
  const body = { email: freshEmail(name.toLowerCase()), full_name: name, password: goodPassword }
  return (await admin.api.post('/users', body)).body.id
}

const withQuery = (path: string, more: string): string => `${path}${path.includes('?') ? '&' : '?'}${more}`

/** Reads all pages, calling `between` after each. */
async function readAll(
  person: Person,
  path: string,
  limit: number,
  between: () => Promise<unknown> = async () => undefined,
): Promise<string[]> {
  const ids: string[] = []
  let next = ''
  for (let page = 0; page < 100; page++) {
    const answer = await person.api.get(withQuery(path, `limit=${limit}${next}`))
    expect(answer.status).toBe(200)
    expect(answer.body.data.length).toBeLessThanOrEqual(limit)
    if (page > 0) expect(answer.body.data).not.toBeEmpty()
    ids.push(...answer.body.data.map((row: { id?: string; user_id?: string }) => row.id ?? row.user_id))
    if (answer.body.next_cursor === null) return ids
    expect(answer.body.data).toHaveLength(limit)
    next = `&cursor=${answer.body.next_cursor}`
    await between()
  }
  throw new Error('the pages have no end')
}

const routes = ({ root, admin, listId }: Pages): [Person, string][] => [
  [root, '/tenants'],
  [admin, '/users'],
  [admin, '/shopping-lists'],
  [admin, `/shopping-lists/${listId}/members`],
  [admin, `/shopping-lists/${listId}/items`],
]

describeService('pages', (backend) => {
  test('hold 1 to 100 rows as requested; any other limit is refused', async () => {
    for (const [person, path] of routes(await pagesOf(backend))) {
      for (const limit of ['1', '100', '007']) {
        const answer = await person.api.get(withQuery(path, `limit=${limit}`))
        expect(answer.status, `${path} ${limit}`).toBe(200)
        expect(Object.keys(answer.body).sort()).toEqual(['data', 'next_cursor'])
      }
      for (const limit of [
        '0',
        '101',
        '-1',
        '1.5',
        '1e1',
        'ten',
        '',
        ' 5',
        '+5',
        '0x10',
        '٣',
        '9'.repeat(400),
      ]) {
        const answer = await person.api.get(withQuery(path, `limit=${encodeURIComponent(limit)}`))
        expect(answer.status, `${path} ${limit}`).toBe(422)
        expect(answer.body.errors[0].field).toBe('limit')
      }
    }
  })

  test('hold 50 rows by default', async () => {
    const { admin } = await pagesOf(backend)
    const { id } = await makeList(admin)
    const items = Array.from({ length: 51 }, (_, number) => ({ name: `Item ${number}` }))
    await admin.api.post(`/shopping-lists/${id}/items`, { items })
    const first = await admin.api.get(`/shopping-lists/${id}/items`)
    expect(first.body.data).toHaveLength(50)
    const rest = await admin.api.get(`/shopping-lists/${id}/items?cursor=${first.body.next_cursor}`)
    expect(rest.body.data).toHaveLength(1)
    expect(rest.body.next_cursor).toBeNull()
  })

  test('together hold every row once, whatever their size', async () => {
    const pages = await pagesOf(backend)
    for (const [person, path] of routes(pages).filter(([, route]) => route !== '/tenants')) {
      const whole = await readAll(person, path, 100)
      expect(new Set(whole).size).toBe(whole.length)
      for (const limit of [1, 2, 3]) expect(await readAll(person, path, limit), path).toEqual(whole)
    }
  })

  test('have no duplicates or gaps while users, items and tenants are added', async () => {
    const { root, admin, listId } = await pagesOf(backend)
    const there = await readAll(admin, '/users', 100)
    const read = await readAll(admin, '/users', 2, () => addUser(admin, 'Newcomer'))
    expect(new Set(read).size).toBe(read.length)
    expect(there.filter((id) => !read.includes(id))).toEqual([])

    const items = await readAll(admin, `/shopping-lists/${listId}/items`, 100)
    const readItems = await readAll(admin, `/shopping-lists/${listId}/items`, 2, async () => {
      await addItem(admin, listId, { name: 'Before all others', position: 'Zz' })
      await addItem(admin, listId, { name: 'Behind all others' })
    })
    expect(new Set(readItems).size).toBe(readItems.length)
    expect(items.filter((id) => !readItems.includes(id))).toEqual([])

    const mark = `mark ${crypto.randomUUID()}`
    const addTenant = async (): Promise<string> => {
      const account = { email: freshEmail(), full_name: 'A', password: goodPassword }
      return (await root.api.post('/tenants', { name: mark, admin: account })).body.id
    }
    const made = [await addTenant(), await addTenant(), await addTenant()]
    const readTenants = await readAll(root, `/tenants?search=${encodeURIComponent(mark)}`, 1, addTenant)
    expect(new Set(readTenants).size).toBe(readTenants.length)
    expect(readTenants.slice(-3)).toEqual(made.toReversed())
  })

  test('hold rows with the same timestamp once each', async () => {
    const { admin } = await pagesOf(backend)
    const made = await Promise.all(Array.from({ length: 8 }, () => addUser(admin, 'Twin')))
    const read = await readAll(admin, '/users?search=Twin', 1)
    expect(read.toSorted()).toEqual(made.toSorted())
  })

  test('refuse a cursor that was altered, forged or truncated', async () => {
    for (const [person, path] of routes(await pagesOf(backend))) {
      if (path.endsWith('/members')) continue
      const { body } = await person.api.get(withQuery(path, 'limit=1'))
      const good: string = path === '/shopping-lists' ? 'a.b' : body.next_cursor
      const [key = '', signature = ''] = good.split('.')
      const otherKey = Buffer.from(JSON.stringify(['2000-01-01T00:00:00.000Z', '0'])).toString('base64url')
      const bad = [
        '',
        'x',
        '.',
        '..',
        `${good}x`,
        `${good}.x`,
        good.slice(0, -1),
        key,
        `${key}.`,
        `.${signature}`,
        `${otherKey}.${signature}`,
        `${key}=.${signature}`,
        '🛒',
        '\0',
        'x'.repeat(1025),
        'x'.repeat(5000),
      ]
      for (const cursor of bad) {
        const answer = await person.api.get(withQuery(path, `cursor=${encodeURIComponent(cursor)}`))
        expect(answer.status, `${path} ${cursor}`).toBe(422)
        expect(answer.body.errors[0].field).toBe('cursor')
      }
    }
  })

  test('refuse the cursor of another query, tenant or role', async () => {
    const { root, admin, member, otherAdmin, listId } = await pagesOf(backend)
    const cursorOf = async (person: Person, path: string): Promise<string> =>
      (await person.api.get(withQuery(path, 'limit=1'))).body.next_cursor
    const users = await cursorOf(admin, '/users')
    const items = await cursorOf(admin, `/shopping-lists/${listId}/items`)
    const tenants = await cursorOf(root, '/tenants')
    const foreign: [Person, string, string][] = [
      [otherAdmin, '/users', users],
      [member, '/users', users],
      [admin, '/users?role=member', users],
      [admin, '/users?search=b', users],
      [admin, '/users?is_active=true', users],
      [admin, '/users', items],
      [admin, '/users', tenants],
      [root, '/tenants', users],
      [root, '/tenants?is_active=true', tenants],
      [admin, `/shopping-lists/${listId}/items?status=pending`, items],
      [admin, `/shopping-lists/${listId}/members`, items],
      [admin, '/shopping-lists', items],
    ]
    for (const [person, path, cursor] of foreign) {
      expect(cursor).not.toBeNull()
      const answer = await person.api.get(withQuery(path, `cursor=${cursor}`))
      expect(answer.status, path).toBe(422)
      expect(answer.body.errors[0].field).toBe('cursor')
    }
    expect((await admin.api.get(`/users?limit=100&cursor=${users}`)).status).toBe(200)
  })

  test('refuse unknown query parameters', async () => {
    for (const [person, path] of routes(await pagesOf(backend)))
      for (const name of ['page', 'offset', '__proto__', 'Limit']) {
        const answer = await person.api.get(withQuery(path, `${name}=1`))
        expect(answer.status).toBe(422)
        expect(answer.body.errors[0].field).toBe(name)
      }
  })
})
