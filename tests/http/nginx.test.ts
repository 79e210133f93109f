/** Behind a real nginx, set up as the README says and compressing: tags, sockets and addresses come through. */
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { createClient } from '../support/client.ts'
import { describeNginx, type Nginx, startNginx } from '../support/nginx.ts'
import { addItem, makeList, makeTenant, makeUser, type Person } from '../support/people.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { closeSockets, openSocket } from '../support/socket.ts'

describeNginx('behind nginx', () => {
  let server: TestServer
  let proxy: Nginx
  let admin: Person
  let ann: Person
  beforeAll(async () => {
    server = await startServer('embedded', { TRUST_PROXY: '1' })
    const tenant = await makeTenant(server)
    admin = tenant.admin
    ann = await makeUser(server, tenant)
    const readme = await recipe()
    proxy = await startNginx((port) =>
      readme
        .replace('server 127.0.0.1:8000;', `server ${new URL(server.url).host};`)
        .replace(
          'listen 443 ssl;',
          `listen 127.0.0.1:${port};\n  gzip on;\n  gzip_types *;\n  gzip_min_length 1;`,
        )
        .replace(/^ *ssl_.*$/gm, ''),
    )
  })
  afterEach(closeSockets)
  afterAll(async () => {
    await proxy?.end()
    await server.stop()
  })

  /** With the headers exactly as they come. */
  const call = (method: string, path: string, headers: Record<string, string> = {}, body?: unknown) =>
    fetch(`${proxy.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${ann.accessToken}`,
        'accept-encoding': 'gzip',
        'content-type': 'application/json',
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const tagOf = (response: Response): string => response.headers.get('etag') ?? ''

  test('a tag that it weakened still tells an unchanged list from a changed one', async () => {
    const { id } = await makeList(ann)
    const path = `/shopping-lists/${id}`
    const tag = tagOf(await call('GET', path))
    // Otherwise this would show nothing.
    expect(tag).toStartWith('W/"seq-0')
    expect((await call('GET', path, { 'if-none-match': tag })).status).toBe(304)
    expect((await call('PATCH', path, { 'if-match': tag }, { name: 'One' })).status).toBe(200)
    expect((await call('PATCH', path, { 'if-match': tag }, { name: 'Two' })).status).toBe(412)
    const changed = await call('GET', path, { 'if-none-match': tag })
    expect(changed.status).toBe(200)
    expect((await call('DELETE', path, { 'if-match': tagOf(changed) })).status).toBe(204)
  })

  test("and so does an item's", async () => {
    const { id } = await makeList(ann)
    const item = await addItem(ann, id)
    const first = await call('PATCH', `/items/${item.id}`, {}, { note: 'x'.repeat(100) })
    expect(tagOf(first)).toBe('W/"2"')
    const change = { 'if-match': tagOf(first) }
    expect((await call('PATCH', `/items/${item.id}`, change, { note: 'y' })).status).toBe(200)
    const stale = await call('PATCH', `/items/${item.id}`, change, { note: 'z' })
    // It compresses no 412.
    expect([stale.status, tagOf(stale)]).toEqual([412, '"3"'])
    expect(await stale.json()).toMatchObject({ current: { id: item.id, note: 'y', version: 3 } })
  })

  test('a socket hears what is written through it', async () => {
    const { id } = await makeList(ann)
    const socket = await openSocket(proxy, ann.accessToken)
    await socket.follow(id)
    await call('POST', `/shopping-lists/${id}/items`, {}, { name: 'Milk' })
    expect((await socket.next('item_added')).seq).toBe(1)
  })

  test('the address counts that it adds, not one that the client made up', async () => {
    const headers = { 'x-forwarded-for': '203.0.113.9' }
    for (const url of [server.url, proxy.url])
      await createClient(url).post(
        '/auth/login',
        { email: ann.email, password: 'a wrong password' },
        { headers },
      )
    const { body } = await admin.api.get('/audit?action=auth.sign_in_failed')
    expect(body.data.map(({ address }: { address: string }) => address)).toEqual(['127.0.0.1', '203.0.113.9'])
  })
})

/** The README's recipe for the inside of `http`. */
async function recipe(): Promise<string> {
  const readme = await Bun.file(join(import.meta.dir, '../../README.md')).text()
  const [, text] = /```nginx\n(upstream [^`]+)```/.exec(readme) ?? []
  if (text === undefined) throw new Error('The README has no recipe for nginx')
  return text
}
