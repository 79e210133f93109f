/** Clients that disconnect before their body is complete: nothing is done, and it does not count as our error. */
import { expect, test } from 'bun:test'
import { connect, type Socket } from 'node:net'
import { figuresNow, sumOf } from '../support/metrics.ts'
import { makeList, makeTenant } from '../support/people.ts'
import { describeService, sharedServer, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

/** Each sends less of the body than it declares. */
const halves = {
  'with its length': 'Content-Length: 1000\r\n\r\n{"name":"Ha',
  'with its length, and nothing of it': 'Content-Length: 1000\r\n\r\n',
  'in chunks': 'Transfer-Encoding: chunked\r\n\r\n6\r\n{"name\r\n',
  'in the middle of a chunk': 'Transfer-Encoding: chunked\r\n\r\nff\r\n{"name',
  'in chunks that break': 'Transfer-Encoding: chunked\r\n\r\n6\r\n{"name\r\nzz\r\n',
}

const leave = {
  closing: (socket: Socket) => socket.destroy(),
  resetting: (socket: Socket) => socket.resetAndDestroy(),
  'saying that no more comes': (socket: Socket) => socket.end(),
}

/** Once this is answered, the server has read what was sent before on other connections. */
const begun = ({ url }: TestServer) => fetch(`${url}/healthz`, { headers: { connection: 'close' } })

async function sendHalf(server: TestServer, path: string, rest: string, token?: string): Promise<Socket> {
  const { hostname, port } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => undefined)
  const authorization = token ? `Authorization: Bearer ${token}\r\n` : ''
  socket.write(
    `POST /api/v1${path} HTTP/1.1\r\nHost: localhost\r\n${authorization}Content-Type: application/json\r\n${rest}`,
  )
  await new Promise((sent) => socket.write('', sent))
  await begun(server)
  return socket
}

/** Metrics and log entries of requests to a route, by status. */
async function reported(server: TestServer, route: string) {
  const families = await figuresNow(server)
  const counted = (status: string) =>
    sumOf(families, 'minimart_http_request_duration_seconds_count', { route, status })
  const logged = server.log.lines.filter(
    ({ message, fields }) => message === 'request' && fields?.['route'] === route,
  )
  return { left: counted('499'), failed: counted('500'), logged }
}

describeService('a client that disconnects within its body', (backend) => {
  for (const [way, goodbye] of Object.entries(leave))
    test(`by ${way} is counted and logged as a disconnect, with and without a token`, async () => {
      const server = await sharedServer(backend)
      const { admin } = await makeTenant(server, 'Cut off')
      const route = '/api/v1/shopping-lists'
      const before = await reported(server, route)
      // Earlier warnings are from other tests.
      const linesBefore = server.log.lines.length
      const tokens = [undefined, admin.accessToken]
      for (const rest of Object.values(halves))
        for (const token of tokens) goodbye(await sendHalf(server, '/shopping-lists', rest, token))
      const expected = before.left + Object.keys(halves).length * tokens.length
      await until(async () => (await reported(server, route)).left >= expected, 'the count')
      const after = await reported(server, route)
      expect(after.left).toBe(expected)
      expect(after.failed).toBe(0)
      const lines = after.logged.slice(before.logged.length)
      expect(new Set(lines.map(({ level, fields }) => [level, fields?.['status']].join(' ')))).toEqual(
        new Set(['info 499']),
      )
      const since = server.log.lines.slice(linesBefore)
      expect(since.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([])
    })

  test('has no effect, even on a route that needs no body', async () => {
    const server = await sharedServer(backend)
    const { admin } = await makeTenant(server, 'Half meant')
    const { id } = await makeList(admin)
    expect((await admin.api.delete(`/shopping-lists/${id}`)).status).toBe(204)
    const route = '/api/v1/shopping-lists/:id/restore'
    const { left } = await reported(server, route)
    const path = `/shopping-lists/${id}/restore`
    ;(await sendHalf(server, path, halves['with its length'], admin.accessToken)).destroy()
    await until(async () => (await reported(server, route)).left > left, 'the count')
    expect((await admin.api.get(`/shopping-lists/${id}`)).status).toBe(404)
  })

  test('because of a shutdown is no error either', async () => {
    // Little is left of the five seconds in which requests may finish.
    const server = await startServer(backend, { SHUTDOWN_DELAY_MS: '4000' })
    const socket = await sendHalf(server, '/auth/login', halves['with its length'])
    await server.stop()
    socket.destroy()
    const { lines } = server.log
    const cut = () => lines.find(({ fields }) => fields?.['route'] === '/api/v1/auth/login')
    await until(cut, 'its line in the log')
    expect(cut()).toMatchObject({ level: 'info', message: 'request', fields: { status: 499 } })
    expect(lines.filter(({ level }) => level === 'error')).toEqual([])
  })
})
