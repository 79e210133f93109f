/** File descriptors running short: sockets are refused before the service itself has none left. */
import { afterAll, expect, test } from 'bun:test'
import { makeTenant } from '../support/people.ts'
import { asServer, describeExecutable, environmentFor } from '../support/program.ts'
import { closeRawSockets, type RawSocket, startRaw } from '../support/raw-socket.ts'
import { startInbox } from '../support/smtp.ts'
import { until } from '../support/until.ts'

const limit = 250
/** Left to the service (src/lib/descriptors.ts). */
const reserve = 64
const under = ['prlimit', `--nofile=${limit}:${limit}`]

describeExecutable('few file descriptors', (program) => {
  afterAll(closeRawSockets)

  test('are warned of at the start, and leave the service its own when sockets take them', async () => {
    const inbox = await startInbox()
    const environment = { ...environmentFor(inbox, ''), ...(await program.anyDatabase()) }
    const running = await (await program.start([], { env: environment, under })).ready()
    expect(running.output()).toContain(`this process may have ${limit} file descriptors`)
    const { admin } = await makeTenant(asServer(running, { backend: 'embedded', inbox, environment }))
    const path = `/ws?token=${admin.accessToken}`
    const sockets: RawSocket[] = []
    const withStatus = (status: number): RawSocket[] => sockets.filter((socket) => socket.status() === status)
    for (let round = 0; round < 15; round++) {
      for (let count = 0; count < 20; count++) sockets.push(startRaw(running, { path }))
      await until(() => sockets.every((socket) => socket.status() > 0), 'an answer to each')
    }
    expect(withStatus(101).length).toBeWithin(20, limit - reserve + 1)
    expect(withStatus(101).length + withStatus(503).length).toBe(sockets.length)
    const [refused] = withStatus(503)
    expect(refused?.head().toLowerCase()).toMatch(/^retry-after: [1-9]/m)
    expect(JSON.parse(refused?.body() ?? '')).toMatchObject({ code: 'busy' })
    await until(() => withStatus(503).every((socket) => socket.ended()), 'the end of the refused')
    expect((await admin.api.post('/shopping-lists', { name: 'Still served' })).status).toBe(201)

    for (const socket of withStatus(101)) socket.destroy()
    await until(async () => {
      const again = startRaw(running, { path })
      await until(() => again.status() > 0, 'an answer')
      return again.status() === 101
    }, 'room again')
    running.signal('SIGTERM')
    expect(await running.exited).toBe(0)
    await inbox.stop()
  })

  test('are reported by check, with a remedy', async () => {
    const { stdout } = await program.run(['check', '--json'], {
      under,
      env: { DATA_DIR: await program.dataDir() },
    })
    const lines: { check: string }[] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.find(({ check }) => check === 'descriptors')).toMatchObject({
      ok: false,
      detail: expect.stringContaining(String(limit)),
      remedy: expect.stringContaining('limit'),
    })
  })
})
