/** SIGTERM and friends: nothing in progress is lost, and the process exits in time. */
import { expect, test } from 'bun:test'
import { connect } from 'node:net'
import { asPerson, makeList, makeTenant } from '../support/people.ts'
import { asServer, describeExecutable, environmentFor, type Running } from '../support/program.ts'
import { startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'

const stopsWithinMs = 10_000

describeExecutable('stopping', (program) => {
  const serve = async (more: Record<string, string> = {}): Promise<Running> =>
    (
      await program.start([], {
        env: { PORT: '0', RATE_LIMIT_AUTH: 'off', ...(await program.anyDatabase()), ...more },
      })
    ).ready()
  const expectStopped = async (running: Running, begun: number): Promise<void> => {
    expect(await running.exited).toBe(0)
    expect(performance.now() - begun).toBeLessThan(stopsWithinMs)
    expect(running.errors()).toBe('')
  }

  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s ends it with 0, and a second one changes nothing',
    async (signal) => {
      const running = await serve()
      const begun = performance.now()
      running.signal(signal)
      running.signal(signal)
      running.signal(signal)
      await expectStopped(running, begun)
    },
  )

  test('SIGHUP does not end it: it keeps serving when its terminal is closed', async () => {
    const running = await serve()
    running.signal('SIGHUP')
    running.signal('SIGHUP')
    expect((await fetch(`${running.url}/readyz`)).status).toBe(200)
    const begun = performance.now()
    running.signal('SIGTERM')
    await expectStopped(running, begun)
  })

  test('a request whose body is still arriving is answered, and new connections are not accepted', async () => {
    const running = await serve()
    const { port } = new URL(running.url)
    const socket = connect(Number(port), '127.0.0.1')
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk.toString()
    })
    const body = JSON.stringify({ email: 'nobody@shop.example', password: 'a long enough passphrase' })
    socket.write(
      `POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 10)}`,
    )
    // The server has started on it once a later request on another connection was answered.
    await fetch(`${running.url}/healthz`, { headers: { connection: 'close' } })
    const begun = performance.now()
    running.signal('SIGTERM')
    await until(() => running.output().includes('stopping'), 'the log line')
    socket.write(body.slice(10))
    await until(() => answer.includes('\r\n\r\n'), 'the answer')
    expect(answer).toStartWith('HTTP/1.1 401')
    expect(answer).toContain('invalid_credentials')
    socket.destroy()
    await expectStopped(running, begun)
  })

  test('connections in use are closed by a response that says so: none is cut during a request', async () => {
    const running = await serve({ SHUTDOWN_DELAY_MS: '1000' })
    const connections = Array.from({ length: 16 }, (_, index) => askRepeatedly(running.url, index * 3))
    await until(() => connections.every(({ answers }) => answers.length > 20), 'some load')
    const closing = (answer: string): boolean => /^connection: close\r$/im.test(answer)
    expect(connections.flatMap(({ answers }) => answers).some(closing)).toBe(false)
    const begun = performance.now()
    running.signal('SIGTERM')
    await Promise.all(connections.map(({ ended }) => ended))
    for (const { answers, isWaiting } of connections) {
      expect(isWaiting()).toBe(false)
      expect(answers.filter(closing)).toEqual(answers.slice(-1))
    }
    await expectStopped(running, begun)
  })

  test('idle keep-alive connections do not delay it', async () => {
    const running = await serve()
    const { port } = new URL(running.url)
    let answered = 0
    const sockets = Array.from({ length: 20 }, () => {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => undefined)
      socket.on('data', () => answered++)
      socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
      return socket
    })
    await until(() => answered >= sockets.length, 'the answers')
    const begun = performance.now()
    running.signal('SIGTERM')
    await expectStopped(running, begun)
    for (const socket of sockets) socket.destroy()
  })

  test('under load no acknowledged write is lost, and none is half done', async () => {
    const inbox = await startInbox()
    const environment = environmentFor(inbox, await program.dataDir('migrated'))
    const start = async (): Promise<Running> => (await program.start([], { env: environment })).ready()
    const running = await start()
    const server = asServer(running, { backend: 'embedded', inbox, environment })
    const { admin } = await makeTenant(server)
    const list = await makeList(admin)
    const written: string[] = []
    const begun = new Set<string>()
    const statuses = new Set<number>()
    let stopped = false
    const clients = Array.from({ length: 8 }, async () => {
      while (!stopped) {
        const id = Bun.randomUUIDv7()
        begun.add(id)
        // Refused or cut before a response: the client cannot know, and may repeat it.
        const answer = await admin.api
          .post(`/shopping-lists/${list.id}/items`, { id, name: 'Milk' })
          .catch(() => null)
        if (answer !== null) statuses.add(answer.status)
        if (answer?.status === 201) written.push(id)
      }
    })
    await until(() => written.length > 100, 'some load')
    const stoppedAt = performance.now()
    running.signal('SIGTERM')
    await expectStopped(running, stoppedAt)
    stopped = true
    await Promise.all(clients)
    expect([...statuses]).toEqual([201])

    const again = await start()
    const { email, password } = admin
    const owner = await asPerson(
      asServer(again, { backend: 'embedded', inbox, environment }),
      email,
      password,
    )
    const { body } = await owner.api.get(`/shopping-lists/${list.id}`)
    const kept = new Set<string>(body.items.map((item: { id: string }) => item.id))
    expect(written.filter((id) => !kept.has(id))).toEqual([])
    expect([...kept].filter((id) => !begun.has(id))).toEqual([])
    expect(body.seq).toBe(kept.size)
    again.signal('SIGTERM')
    expect(await again.exited).toBe(0)
    await inbox.stop()
  })

  test('under load every response that begins is complete, and it ends in time', async () => {
    const running = await serve()
    let stopped = false
    const outcomes: (number | 'no connection')[] = []
    const torn: string[] = []
    const clients = Array.from({ length: 8 }, async () => {
      while (!stopped) {
        try {
          const response = await fetch(`${running.url}/readyz`)
          const text = await response.text()
          if (!text.endsWith('}')) torn.push(text)
          outcomes.push(response.status)
        } catch {
          // Refused or closed before a response: the client knows that nothing was done.
          outcomes.push('no connection')
        }
      }
    })
    await until(() => outcomes.length > 200, 'some load')
    const begun = performance.now()
    running.signal('SIGTERM')
    await expectStopped(running, begun)
    stopped = true
    await Promise.all(clients)
    expect(torn).toEqual([])
    const statuses = outcomes.filter((outcome) => typeof outcome === 'number')
    expect(new Set(statuses).difference(new Set([200, 503]))).toEqual(new Set())
  })
})

/** Sequential requests on one connection, `pauseMs` after each response. */
function askRepeatedly(url: string, pauseMs: number) {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  const answers: string[] = []
  let waiting = false
  const ask = (): void => {
    if (socket.destroyed || socket.readyState !== 'open') return
    waiting = true
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
  }
  let answer = ''
  socket.on('connect', ask)
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    answer += chunk.toString()
    if (!answer.endsWith('}')) return
    answers.push(answer)
    answer = ''
    waiting = false
    setTimeout(ask, pauseMs)
  })
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return { answers, ended, isWaiting: () => waiting }
}
