/** A long answer keeps its reader's place in line until the client has taken it. */
import { afterEach, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { createLine, type Line } from '../../src/access/reading-lines.ts'
import { answerInPlace } from '../../src/http/handing-over.ts'
import { until } from '../support/until.ts'

const ann = { userId: 'ann', tenantId: 'tenant', role: 'member', sessionId: 'session' } as const
/** More than the buffers of a connection hold. */
const long = 'ä'.repeat(16 * 1024 * 1024)
const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

function serve(line: Line, find: (request: Request) => Promise<{ body: string | null }>): URL {
  const server = Bun.serve({
    port: 0,
    error: () => new Response(null, { status: 500 }),
    async fetch(request) {
      const place = await line.enter(ann, request.signal)
      return await answerInPlace(
        place,
        request,
        () => find(request),
        (body) => new Response(body),
      )
    },
  })
  ends.push(() => void server.stop(true))
  return server.url
}

/** Asks, and reads nothing. */
function ask({ hostname, port }: URL) {
  const socket = connect(Number(port), hostname)
  socket.pause()
  socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  ends.push(() => socket.destroy())
  return socket
}

test('who asks and does not read has two answers in memory; the place is free once they are gone', async () => {
  const line = createLine(4)
  let found = 0
  const url = serve(line, async () => {
    found++
    return { body: long }
  })
  const sockets = Array.from({ length: 6 }, () => ask(url))
  await until(() => line.counts().waiting === 4, 'the line')
  expect(line.counts().held).toBe(2)
  for (const socket of sockets.slice(2)) socket.destroy()
  await until(() => line.counts().waiting === 0, 'the end of the line')
  expect(found).toBe(2)
  for (const socket of sockets) socket.destroy()
  await until(() => line.counts().held === 0, 'free places')
})

test('who reads gets all of it, and the place is free', async () => {
  const line = createLine(4)
  const url = serve(line, async () => ({ body: long }))
  for (let round = 0; round < 3; round++) expect((await (await fetch(url)).text()) === long).toBe(true)
  await until(() => line.counts().held === 0, 'free places')
})

test('a short answer is let go at once, and so is the place of one that fails or has no body', async () => {
  const line = createLine(4)
  const bodies = ['short', null]
  const url = serve(line, async () => {
    const body = bodies.shift()
    if (body === undefined) throw new Error('not found')
    return { body }
  })
  const answer = await fetch(url)
  expect([answer.headers.get('content-length'), await answer.text()]).toEqual(['5', 'short'])
  expect(await (await fetch(url)).text()).toBe('')
  expect((await fetch(url)).status).toBe(500)
  expect(line.counts().held).toBe(0)
})

test('who leaves while it is being read holds no place afterwards', async () => {
  const line = createLine(4)
  const { promise, resolve } = Promise.withResolvers<void>()
  let isGone = false
  const url = serve(line, async ({ signal }) => {
    signal.addEventListener('abort', () => {
      isGone = true
    })
    await promise
    return { body: long }
  })
  const socket = ask(url)
  await until(() => line.counts().held === 1, 'the read')
  socket.destroy()
  await until(() => isGone, 'the end of the connection')
  resolve()
  await until(() => line.counts().held === 0, 'a free place')
})
