/** Routes without a body refuse one like any invalid body; they never ignore it. */
import { beforeAll, expect, test } from 'bun:test'
import { createDocumentedApp } from '../../src/app.ts'
import { maxBodyBytes } from '../../src/http/body.ts'
import { addItem, makeList, makeTenant, type Person } from '../support/people.ts'
import { describeService, sharedServer } from '../support/server.ts'
import { inputRoutes, jsonType, type Setting, send, settingOf, stateOf } from './input/routes.ts'

const takingNone = inputRoutes.filter(({ method, example }) => method !== 'GET' && example === null)

test('every route whose method allows a body declares what it takes, even if that is nothing', () => {
  const silent = createDocumentedApp()
    .routes.filter(({ method, path }) => path.startsWith('/api/') && !['GET', 'OPTIONS'].includes(method))
    .filter(({ hooks }) => hooks.body === undefined)
  expect(silent.map(({ method, path }) => `${method} ${path}`)).toEqual([])
  expect(takingNone.length).toBeGreaterThanOrEqual(9)
})

const refused: [string, number, string, RequestInit['body'], Record<string, string>][] = [
  ['malformed JSON', 400, 'malformed_json', '{"name":', jsonType],
  ['text', 415, 'not_json', 'please', { 'content-type': 'text/plain' }],
  ['JSON of no declared type', 415, 'not_json', '{"name":"x"}', { 'content-type': '' }],
  ['two MiB', 413, 'body_too_large', ' '.repeat(2 * maxBodyBytes), jsonType],
  ['an unknown field', 422, 'invalid', '{"name":"x"}', jsonType],
  ['a list', 422, 'invalid', '[]', jsonType],
  ['null', 422, 'invalid', 'null', jsonType],
]
const fine: [string, RequestInit][] = [
  ['none', {}],
  ['none, declared as JSON', { headers: jsonType }],
  ['an empty one', { headers: jsonType, body: '' }],
  ['an empty object', { headers: jsonType, body: '{}' }],
]

describeService('a body where none is expected', (backend) => {
  let setting: Setting
  beforeAll(async () => {
    setting = await settingOf(backend)
  })

  for (const [what, status, code, body, headers] of refused)
    test(`${what} is refused with ${status} and has no effect`, async () => {
      const before = await stateOf(setting)
      for (const route of takingNone) {
        const answer = await send(setting, route, { headers, body })
        expect([route.target, answer.status, answer.code]).toEqual([route.target, status, code])
        if (what === 'an unknown field') expect(answer.fields).toEqual(['name'])
      }
      expect(await stateOf(setting)).toBe(before)
    })

  test('is accepted when empty', async () => {
    const server = await sharedServer(backend)
    const { admin } = await makeTenant(server)
    const call = async (person: Person, method: string, path: string, sent: RequestInit) => {
      const headers = { ...sent.headers, authorization: `Bearer ${person.accessToken}` }
      return (await fetch(`${server.url}/api/v1${path}`, { ...sent, method, headers })).status
    }
    for (const [what, sent] of fine) {
      const list = await makeList(admin)
      const item = await addItem(admin, list.id)
      const path = `/shopping-lists/${list.id}`
      expect([
        what,
        await call(admin, 'POST', `${path}/items/clear-purchased`, sent),
        await call(admin, 'DELETE', `/items/${item.id}`, sent),
        await call(admin, 'DELETE', path, sent),
        await call(admin, 'POST', `${path}/restore`, sent),
      ]).toEqual([what, 200, 204, 204, 200])
    }
    const [, emptied] = fine.at(-1) ?? ['', {}]
    expect(await call(admin, 'POST', '/auth/logout', emptied)).toBe(204)
  })
})
