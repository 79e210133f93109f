/** Bodies that are not plain JSON in UTF-8, or too large, reach no route, whoever sends them. */
import { expect, test } from 'bun:test'
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { isRecord } from '../../support/json-schema.ts'
import { bytesOf, exchange } from '../../support/raw-http.ts'
import { describeService } from '../../support/server.ts'
import {
  bodyRoutes,
  bodyTextOf,
  jsonType,
  propertiesOf,
  type Schema,
  send,
  settingOf,
  stateOf,
} from './routes.ts'

const asBytes = (data: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(data)

interface Attempt {
  headers: Record<string, string>
  body: RequestInit['body']
}

/** The body with every wrong type, charset and coding. */
function disguises(text: string): Record<string, Attempt> {
  const flat: [string, string][] = Object.entries(JSON.parse(text)).map(([name, value]) => [
    name,
    String(value),
  ])
  const form = new FormData()
  for (const [name, value] of flat) form.set(name, value)
  const typed = (type: string, body: RequestInit['body'] = text): Attempt => ({
    headers: { 'content-type': type },
    body,
  })
  const coded = (coding: string, body: Uint8Array): Attempt => ({
    headers: { ...jsonType, 'content-encoding': coding },
    body: asBytes(body),
  })
  return {
    form: { headers: {}, body: new URLSearchParams(flat) },
    'multipart form': { headers: {}, body: form },
    'JSON in a form': typed('application/x-www-form-urlencoded'),
    'JSON as text': typed('text/plain;charset=UTF-8'),
    'no type': { headers: {}, body: asBytes(Buffer.from(text)) },
    'two types': typed('application/json, text/plain'),
    'UTF-16': typed('application/json; charset=utf-16le', asBytes(Buffer.from(text, 'utf16le'))),
    'Latin-1': typed('application/json; charset=iso-8859-1', asBytes(Buffer.from(text, 'latin1'))),
    gzip: coded('gzip', gzipSync(text)),
    'GZIP twice': coded('GZIP, gzip', gzipSync(gzipSync(text))),
    deflate: coded('deflate', deflateSync(text)),
    br: coded('br', brotliCompressSync(text)),
    zstd: coded('zstd', zstdCompressSync(text)),
    'said to be gzip, but plain': coded('gzip', Buffer.from(text)),
  }
}

const bomb = gzipSync(`{"name":"${'x'.repeat(200_000_000)}"}`)
const deep = `{"name":${'['.repeat(50_000)}${']'.repeat(50_000)}}`
const large = `{"name":"${'x'.repeat(1024 * 1024)}"}`

/** Paths of all text fields: `admin.email`, `items.0.name`. */
const textFields = (schemas: readonly Schema[]): string[] =>
  Object.entries(propertiesOf(schemas)).flatMap(([name, field]) => {
    const items = field['items']
    if (isRecord(items)) return textFields([items]).map((inner) => `${name}.0.${inner}`)
    if (isRecord(field['properties'])) return textFields([field]).map((inner) => `${name}.${inner}`)
    return JSON.stringify(field).includes('"string"') ? [name] : []
  })

/** A copy of the body with that raw text at that path. */
function withText(example: object, path: string, text: string): string {
  const [first = '', ...rest] = path.split('.')
  const inner = rest.at(-1)
  const base: unknown = Reflect.get(example, first)
  const value =
    inner === undefined
      ? '§text§'
      : rest.length > 1
        ? [{ name: 'One', [inner]: '§text§' }]
        : { ...(isRecord(base) ? base : {}), [inner]: '§text§' }
  const others = rest.length > 1 ? {} : example
  return JSON.stringify({ ...others, [first]: value }).replace('§text§', text)
}

describeService('every route that takes a body', (backend) => {
  test('refuses forms, other types, other charsets and anything compressed, without parsing it', async () => {
    const setting = await settingOf(backend)
    const before = await stateOf(setting)
    for (const route of bodyRoutes)
      for (const [name, attempt] of Object.entries(disguises(bodyTextOf(route.example, setting.world)))) {
        const { status, code } = await send(setting, route, attempt)
        expect([status, code], `${route.method} ${route.target}: ${name}`).toEqual([415, 'not_json'])
      }
    expect(await stateOf(setting)).toBe(before)
  })

  test('refuses a decompression bomb without unpacking it', async () => {
    const setting = await settingOf(backend)
    expect(bomb.length).toBeLessThan(400_000)
    for (const coding of ['gzip', 'x-gzip', 'identity, gzip']) {
      const before = process.memoryUsage().rss
      const headers = { ...jsonType, 'content-encoding': coding }
      for (const route of bodyRoutes.slice(0, 5))
        expect((await send(setting, route, { headers, body: asBytes(bomb) })).status).toBe(415)
      expect(process.memoryUsage().rss - before).toBeLessThan(150_000_000)
    }
  })

  test('accepts Content-Encoding: identity', async () => {
    const setting = await settingOf(backend)
    const [route] = bodyRoutes.filter(
      ({ method, target }) => `${method} ${target}` === 'PATCH /api/v1/auth/me',
    )
    if (!route) throw new Error('PATCH /auth/me is gone')
    for (const coding of ['identity', 'Identity', '']) {
      const body = JSON.stringify({ full_name: 'Plain' })
      const answer = await send(setting, route, {
        headers: { ...jsonType, 'content-encoding': coding },
        body,
      })
      expect(answer.status, coding).toBe(200)
    }
  })

  test('honours exactly one Content-Type', async () => {
    const { server } = await settingOf(backend)
    const types = ['application/json', 'application/x-www-form-urlencoded']
    for (const [first = '', second = ''] of [types, types.toReversed()]) {
      const headers: [string, string][] = [
        ['Content-Type', first],
        ['Content-Type', second],
      ]
      const body = Buffer.from('{"email":"a@b.example","password":"x"}')
      const request = bytesOf({ method: 'POST', target: '/api/v1/auth/login', headers, body })
      expect((await exchange(server.url, request, 5000))?.status).toBe(415)
    }
  })

  test('refuses what is too deep or too large, immediately and without effect', async () => {
    const setting = await settingOf(backend)
    const before = await stateOf(setting)
    for (const route of bodyRoutes) {
      const nested = await send(setting, route, { headers: jsonType, body: deep })
      expect([nested.status, nested.fields.length], route.target).toEqual([422, 1])
      expect((await send(setting, route, { headers: jsonType, body: large })).status).toBe(413)
    }
    expect(await stateOf(setting)).toBe(before)
  })

  test('refuses lone surrogates in every text field by its name, and NUL except in passwords and tokens', async () => {
    const setting = await settingOf(backend)
    const before = await stateOf(setting)
    let count = 0
    for (const route of bodyRoutes)
      for (const field of textFields(route.schemas)) {
        const opaque = /password|token/.test(field)
        for (const text of ['\\ud800', 'a\\udc00\\ud83d', ...(opaque ? [] : ['a\\u0000b', '\\u0000'])]) {
          const body = withText(route.example ?? {}, field, text)
          const answer = await send(setting, route, { headers: jsonType, body })
          expect(answer.status, `${route.target} ${field} ${text}: ${answer.text}`).toBe(422)
          expect(answer.fields).toContain(field)
          count++
        }
      }
    expect(count).toBeGreaterThan(100)
    expect(await stateOf(setting)).toBe(before)
  })
})
