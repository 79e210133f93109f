/** A request's id appears in everything it causes; slow database calls are logged without values. */
import { afterAll, expect, test } from 'bun:test'
import { sql } from 'drizzle-orm'
import { onceArrived } from '../support/auth.ts'
import { type Answer, createClient } from '../support/client.ts'
import type { LogLine } from '../support/log.ts'
import { freshEmail, goodPassword, makeList, makeTenant, makeUser, superAdmin } from '../support/people.ts'
import {
  describeBackends,
  describeFull,
  oncePerBackend,
  sharedServer,
  startInstance,
  startServer,
  type TestServer,
} from '../support/server.ts'
import { closeSockets, openSocket } from '../support/socket.ts'
import { until } from '../support/until.ts'

const linesOf = ({ log }: TestServer, requestId: string): LogLine[] =>
  log.lines.filter(({ fields }) => fields?.['request_id'] === requestId)

interface Given {
  headers: Record<string, string>
}

const slowServer = oncePerBackend((backend) => startServer(backend, { SLOW_QUERY_MS: '30' }))

describeBackends('a request', (backend) => {
  afterAll(async () => {
    closeSockets()
    await (await slowServer(backend)).stop()
  })

  test('has its id in its answer, problem, log line, mail, audit entry and event', async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server)
    const { admin } = tenant
    const guest = await makeUser(server, tenant)
    const list = await makeList(admin)
    const id = (what: string): { headers: { 'x-request-id': string } } => ({
      headers: { 'x-request-id': `trace-me:${what}` },
    })

    const added = await admin.api.post(`/shopping-lists/${list.id}/items`, { name: 'Milk' }, id('event'))
    expect(added.headers.get('x-request-id')).toBe('trace-me:event')
    await until(() => linesOf(server, 'trace-me:event').length >= 2, 'its lines')
    const published = linesOf(server, 'trace-me:event').find(({ message }) => message === 'events published')
    expect(published?.level).toBe('debug')
    expect(published?.fields).toMatchObject({ list_id: list.id, from_seq: 1, events: 1 })
    expect(linesOf(server, 'trace-me:event').map(({ message }) => message)).toContain('request')

    const refused = await admin.api.post(`/shopping-lists/${list.id}/items`, { name: '' }, id('problem'))
    expect(refused.body).toMatchObject({ status: 422, request_id: 'trace-me:problem' })

    const invited = await admin.api.post(
      `/shopping-lists/${list.id}/invite`,
      { email: guest.email },
      id('mail'),
    )
    expect(invited.status).toBe(201)
    const mail = await server.inbox.waitFor(guest.email)
    expect(mail.parsed.headers.find(({ key }) => key === 'x-request-id')?.value).toBe('trace-me:mail')
    await until(
      () => linesOf(server, 'trace-me:mail').some(({ message }) => message === 'mail sent'),
      'its line',
    )
    const audit = await admin.api.get('/audit')
    expect(JSON.stringify(audit.body)).toContain('trace-me:mail')
  })

  test("has its id in every mail it causes and in the mail's log line", async () => {
    const server = await sharedServer(backend)
    const root = await superAdmin(server)
    const { admin } = await makeTenant(server)
    const open = createClient(server.url)
    const person = { email: freshEmail('mailed'), full_name: 'Mailed', password: goodPassword }
    const newAdmin = { ...person, email: freshEmail('mailed-admin') }
    const { email, password } = person
    const next = 'another long passphrase'
    const change = { current_password: admin.password, new_password: next }
    const calls: [what: string, to: string, call: (given: Given) => Promise<Answer>][] = [
      ['created', email, (given) => admin.api.post('/users', person, given)],
      // Each once the mail before it counts as having arrived.
      [
        'resent',
        email,
        (given) => onceArrived(server, () => open.post('/auth/resend-otp', { email }, given)),
      ],
      [
        'not-verified',
        email,
        (given) => onceArrived(server, () => open.post('/auth/login', { email, password }, given), 242),
      ],
      ['tenant', newAdmin.email, (given) => root.api.post('/tenants', { name: 'M', admin: newAdmin }, given)],
      [
        'forgotten',
        admin.email,
        (given) => open.post('/auth/forgot-password', { email: admin.email }, given),
      ],
      ['changed', admin.email, (given) => admin.api.post('/auth/change-password', change, given)],
    ]
    for (const [what, to, call] of calls) {
      const id = `mailed-by:${what}`
      expect((await call({ headers: { 'x-request-id': id } })).headers.get('x-request-id')).toBe(id)
      const mail = await server.inbox.waitFor(to)
      expect(mail.parsed.headers.find(({ key }) => key === 'x-request-id')?.value).toBe(id)
      await until(() => linesOf(server, id).some(({ message }) => message === 'mail sent'), 'its line')
    }
  })

  test('with a slow database call logs the statement, its kind and the request id, and never a value', async () => {
    const server = await slowServer(backend)
    const { db } = server.running.deps
    const tenantId = crypto.randomUUID()
    const scope = { tenantId, requestId: 'slow-one' }
    const slow = sql<{ text: string }>`select pg_sleep(0.05), ${'a private note'}::text as text`
    await db.read(scope, slow)
    await db.transaction('system', async (query) => {
      await query(sql`select 1`)
      await query(slow)
    })
    await db.read(scope, sql`select ${'quick'}::text`)
    // Other calls may be slow on a busy machine, too.
    const lines = server.log.lines.filter(
      ({ message, fields }) => message === 'slow database call' && /sleep|quick/.test(JSON.stringify(fields)),
    )
    expect(lines.map(({ level }) => level)).toEqual(['warn', 'warn'])
    expect(lines[0]?.fields).toMatchObject({
      kind: 'read',
      scope: 'tenant',
      statement: 'select pg_sleep(0.05), $1::text as text',
      request_id: 'slow-one',
    })
    expect(Number(lines[0]?.fields?.['ms'])).toBeGreaterThanOrEqual(50)
    expect(lines[1]?.fields).toMatchObject({
      kind: 'transaction',
      scope: 'system',
      statement: 'select 1; select pg_sleep(0.05), $1::text as text',
    })
    expect(JSON.stringify(lines)).not.toMatch(/private note|quick/)
    expect(JSON.stringify(lines)).not.toContain(tenantId)
  })
})

describeFull('an event', () => {
  test('passes its request id to the log of the instance that receives it', async () => {
    const server = await sharedServer('full')
    const other = await startInstance(server)
    try {
      const { admin } = await makeTenant(server)
      const list = await makeList(admin)
      const socket = await openSocket(other, admin.accessToken)
      await socket.follow(list.id)
      const options = { headers: { 'x-request-id': 'across-instances' } }
      const { status } = await createClient(server.url, admin.accessToken).post(
        `/shopping-lists/${list.id}/items`,
        { name: 'Milk' },
        options,
      )
      expect(status).toBe(201)
      await socket.next('item_added')
      const [line] = await until(() => {
        const found = linesOf(other, 'across-instances')
        return found.length > 0 && found
      }, 'the line')
      expect(line).toMatchObject({ level: 'debug', message: 'events arrived' })
      expect(line?.fields).toMatchObject({ list_id: list.id, from_seq: 1, events: 1 })
    } finally {
      closeSockets()
      await other.stop()
    }
  })
})
