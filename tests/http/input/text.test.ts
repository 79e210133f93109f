/** Text is data: stored and found as written, whatever it means to a database, a page or a reader. */
import { expect, test } from 'bun:test'
import { createClient } from '../../support/client.ts'
import {
  freshEmail,
  goodPassword,
  makeList,
  makeTenant,
  type Person,
  superAdmin,
} from '../../support/people.ts'
import { type Backend, describeBackends, oncePerBackend, sharedServer } from '../../support/server.ts'
import { digestOf } from '../fuzz/world.ts'
import { inputRoutes, send, settingOf } from './routes.ts'

/** None is changed by trimming or NFC, and all fit the shortest field, a unit. */
const hostile = [
  ...["'; drop table items; --", "' or '1'='1", '" or 1=1 /*', "\\'; select pg_sleep(60);--", '$1', '$$;$$'],
  ...['1); delete from users;--', "E'\\x27'", '\\', '%', '_', '%s%n', '{{7*7}}', '#{7*7}', '<%= 7*7 %>'],
  ...['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', 'javascript:alert(1)', '&lt;b&gt;'],
  ...['../../etc/passwd', '=cmd|calc!A1', '=?utf-8?Q?x?=', '%00', '%0d%0aX: y', '\\u0000', '\\ud800', 'null'],
  ...[
    'a\u202egpj.exe',
    'a\u200bb',
    'a\u2028b',
    '\u0430dmin',
    'ﬀ',
    '👩‍👩‍👧‍👦',
    'مرحبا',
    'x\u{10ffff}y',
    '__proto__',
  ],
]

interface Setting {
  root: Person
  admin: Person
  other: { id: string; admin: Person }
  tenantId: string
}

const peopleOf = oncePerBackend(async (backend: Backend): Promise<Setting> => {
  const server = await sharedServer(backend)
  const [tenant, other] = [await makeTenant(server, 'Hostile text'), await makeTenant(server, 'Bystander')]
  await makeList(other.admin, 'Untouched')
  return { root: await superAdmin(server), admin: tenant.admin, tenantId: tenant.id, other }
})

describeBackends('text', (backend) => {
  test('of an item, list, user or tenant is stored as written and has no other effect', async () => {
    const server = await sharedServer(backend)
    const { admin, root, tenantId, other } = await peopleOf(backend)
    const before = await digestOf(server, other.id)
    const { id: listId } = await makeList(admin, 'Hostile')
    for (const text of hostile) {
      const whole = { name: text, note: text, unit: text, category: text }
      const item = await admin.api.post(`/shopping-lists/${listId}/items`, whole)
      expect([item.status, item.body], text).toMatchObject([201, whole])
      const changed = { name: `${text} 2`, note: `${text}\n${text}`, category: text }
      expect((await admin.api.patch(`/items/${item.body.id}`, changed)).body).toMatchObject(changed)
      const list = await admin.api.patch(`/shopping-lists/${listId}`, { name: text, description: text })
      expect([list.status, list.body], text).toMatchObject([200, { name: text, description: text }])
      const person = await admin.api.patch('/auth/me', { full_name: text })
      expect([person.status, person.body.full_name]).toEqual([200, text])
      const tenant = await root.api.patch(`/tenants/${tenantId}`, { name: text })
      expect([tenant.status, tenant.body.name]).toEqual([200, text])
    }
    const { body } = await admin.api.get(`/shopping-lists/${listId}`)
    expect(body.items.map(({ note }: { note: string }) => note)).toEqual(
      hostile.map((text) => `${text}\n${text}`),
    )
    const events = await admin.api.get(`/shopping-lists/${listId}/events?since=0&limit=100`)
    const named = events.body.data.flatMap((event: { type: string; payload: { item: { name: string } } }) =>
      event.type === 'item_added' ? [event.payload.item.name] : [],
    )
    expect(named).toEqual(hostile.slice(0, named.length))
    expect(named.length).toBeGreaterThan(20)
    expect(await digestOf(server, other.id)).toBe(before)
  })

  test('is searched literally: a wildcard, quote or backslash finds only itself', async () => {
    const { admin, root } = await peopleOf(backend)
    const mark = crypto.randomUUID().slice(0, 8)
    const account = () => ({ email: freshEmail(), password: goodPassword })
    const names = [
      '%',
      '_',
      '\\',
      '\\%',
      '%%',
      "'",
      '"',
      "' or 1=1 --",
      '\\\\',
      'a%b',
      'ab',
      'A_B',
      '$1',
      '[a]',
    ]
    for (const name of names) {
      await admin.api.post('/users', { ...account(), full_name: `${mark}${name}` })
      await root.api.post('/tenants', { name: `${mark}${name}`, admin: { ...account(), full_name: 'A' } })
    }
    for (const name of names) {
      const search = encodeURIComponent(`${mark}${name}`)
      const expected = names.filter((other) => other.toLowerCase().startsWith(name.toLowerCase()))
      const users = await admin.api.get(`/users?search=${search}`)
      const found = users.body.data.map((user: { full_name: string }) => user.full_name.slice(mark.length))
      expect(found.sort(), name).toEqual(expected.sort())
      const tenants = await root.api.get(`/tenants?search=${search}`)
      const foundTenants = tenants.body.data.map((tenant: { name: string }) => tenant.name.slice(mark.length))
      expect(foundTenants.sort(), name).toEqual(expected.sort())
    }
    for (const text of ["%' or '1'='1", "'; drop table users; --", '\\', '%', '_'])
      expect(
        (await admin.api.get(`/users?search=${encodeURIComponent(`none${mark}${text}`)}`)).body.data,
      ).toEqual([])
  })

  test('in any query parameter is refused or searched for, never executed', async () => {
    const setting = await settingOf(backend)
    const before = await digestOf(setting.server, setting.world.tenantId)
    let count = 0
    for (const route of inputRoutes)
      for (const name of route.query)
        for (const text of hostile) {
          const answer = await send(setting, route, { query: `?${name}=${encodeURIComponent(text)}` })
          const expected = name === 'search' && !/[\p{Cc}]/u.test(text) ? 200 : 422
          expect(answer.status, `${route.target} ${name}=${text}: ${answer.text}`).toBe(expected)
          if (expected === 422) expect(answer.fields).toEqual([name])
          count++
        }
    expect(count).toBeGreaterThan(400)
    expect(await digestOf(setting.server, setting.world.tenantId)).toBe(before)
  })
})

/** Canonical reordering of such runs is quadratic: normalising 1 MB of the first blocked an instance for minutes. */
const longRuns = ['\u0301\u0316', '\u0315\u0300\u05ae', '\u0301'].map((marks) => `e${marks.repeat(160_000)}`)

describeBackends('a long run of combining marks', (backend) => {
  test('is refused in any field, before normalisation and authentication', async () => {
    const server = await sharedServer(backend)
    const open = createClient(server.url)
    for (const marks of longRuns) {
      const many = Array.from({ length: 1000 }, (_, index) => marks.slice(index % 2, 300))
      for (const [field, body] of [
        ['refresh_token', { refresh_token: marks }],
        ['unknown', { refresh_token: 'x', unknown: marks }],
        ['a.b', { refresh_token: 'x', a: { b: marks } }],
        ['many.0', { refresh_token: 'x', many }],
        ['body', { refresh_token: 'x', [marks]: 1 }],
      ] as const) {
        const begun = performance.now()
        const answer = await open.post('/auth/refresh', body)
        expect([answer.status, answer.body.code, answer.body.errors]).toEqual([
          422,
          'invalid',
          [{ field, message: 'must not have more than 30 combining marks in a row' }],
        ])
        // Seconds at least if it is normalised; milliseconds if not.
        expect(performance.now() - begun).toBeLessThan(1000)
      }
    }
  })

  test('may have thirty marks, not thirty-one, in a name and in a search', async () => {
    const { admin } = await peopleOf(backend)
    for (const [count, status] of [
      [30, 201],
      [31, 422],
    ] as const) {
      const name = `e${'\u0301'.repeat(count)}`
      expect((await admin.api.post('/shopping-lists', { name })).status).toBe(status)
      const found = await admin.api.get(`/users?search=${encodeURIComponent(name)}`)
      expect(found.status).toBe(status === 201 ? 200 : 422)
    }
  })
})

/** Each pair looks alike or is one mailbox to some provider, but is two accounts here. */
const twins = (mark: string): [string, string][] => [
  [`a${mark}@shop.example`, `\u0430${mark}@shop.example`],
  [`plus${mark}@shop.example`, `plus${mark}+tag@shop.example`],
  [`dot.dot${mark}@shop.example`, `dotdot${mark}@shop.example`],
  [`zero${mark}@shop.example`, `zero\u200b${mark}@shop.example`],
  [`wide${mark}@shop.example`, `\uff57ide${mark}@shop.example`],
  [`ligature-ff${mark}@shop.example`, `ligature-\ufb00${mark}@shop.example`],
  [`dotless-i${mark}@shop.example`, `dotless-\u0131${mark}@shop.example`],
  [`long-s${mark}@shop.example`, `long-\u017f${mark}@shop.example`],
  [`domain${mark}@shop.example`, `domain${mark}@sh\u043ep.example`],
  [`host${mark}@shop.example`, `host${mark}@mail.shop.example`],
]

describeBackends('an address', (backend) => {
  test('is exactly what was written: a lookalike is another account, only case is ignored', async () => {
    const { admin } = await peopleOf(backend)
    const { url } = await sharedServer(backend)
    const open = createClient(url)
    for (const [address, twin] of twins(crypto.randomUUID().slice(0, 8))) {
      const first = { email: address, full_name: 'First', password: `${goodPassword} one` }
      const second = { email: twin, full_name: 'Second', password: `${goodPassword} two` }
      for (const account of [first, second]) {
        const made = await admin.api.post('/users', account)
        expect([made.status, made.body.email], twin).toEqual([201, account.email])
      }
      for (const login of [
        { email: address, password: second.password },
        { email: twin, password: first.password },
      ])
        expect((await open.post('/auth/login', login)).body.code, twin).toBe('invalid_credentials')
      for (const { email, password } of [first, second])
        expect((await open.post('/auth/login', { email, password })).body.code).toBe('email_not_verified')
      const shouted = { ...first, email: address.toUpperCase() }
      expect((await admin.api.post('/users', shouted)).body.code).toBe('email_taken')
    }
  })

  test('that would end a header, a command or a mailbox early is invalid', async () => {
    const { admin, root } = await peopleOf(backend)
    const bad = [
      ...[
        'a@b.example\r\nBcc: c@d.example',
        'a@b.example\nX: y',
        'a\0@b.example',
        'a b@c.example',
        'a\u2028@b.example',
      ],
      ...[
        'a@b.example, c@d.example',
        'a@b.example;c@d.example',
        '<a@b.example>',
        'A <a@b.example>',
        '"a b"@c.example',
      ],
      ...[
        'a@b@c.example',
        'a@[127.0.0.1]',
        'a@b.example>',
        'a(x)@b.example',
        'a@b..example',
        'a\\@b.example',
        '@b.example',
      ],
      ...[
        'a@',
        'a@-b.example',
        'a@b.example.',
        `${'a'.repeat(65)}@b.example`,
        "a@b.example' or 1=1",
        'a@b\u200b.example',
      ],
    ]
    const account = { full_name: 'A', password: goodPassword }
    for (const email of bad) {
      const user = await admin.api.post('/users', { ...account, email })
      expect([user.status, user.body.errors?.[0]?.field], email).toEqual([422, 'email'])
      const tenant = await root.api.post('/tenants', { name: 'T', admin: { ...account, email } })
      expect([tenant.status, tenant.body.errors?.[0]?.field], email).toEqual([422, 'admin.email'])
    }
  })
})
