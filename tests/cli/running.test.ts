/** A running program loses its disk, its log's reader or its file descriptors, and keeps serving. */
import { expect, test } from 'bun:test'
import { rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { createClient } from '../support/client.ts'
import { describeExecutable, type Running } from '../support/program.ts'
import { fillCommand, mayMount, onTmpfs } from '../support/tmpfs.ts'
import { until } from '../support/until.ts'

const email = 'root@platform.example'
const password = 'a long enough passphrase'
const common = {
  PORT: '0',
  RATE_LIMIT_AUTH: 'off',
  RATE_LIMIT_API: 'off',
  RATE_LIMIT_MAIL: 'off',
  RATE_LIMIT_TENANT_MAIL: 'off',
  SUPER_ADMIN_EMAIL: email,
  SUPER_ADMIN_PASSWORD: password,
}

describeExecutable('a program that runs', (program) => {
  const asRoot = async ({ url }: Pick<Running, 'url'>) => {
    const { status, body } = await createClient(url).post('/auth/login', { email, password })
    expect(status).toBe(200)
    return createClient(url, body.access_token)
  }
  const expectStops = async (running: Running): Promise<void> => {
    running.signal('SIGTERM')
    expect(await running.exited).toBe(0)
    expect(running.errors()).toBe('')
  }

  test.skipIf(!mayMount)(
    'on a full disk answers writes with 503, keeps reading, loses nothing and recovers by itself',
    async () => {
      const at = await program.folder()
      const DATA_DIR = join(at, 'data')
      const under = onTmpfs({ size: '120m', at, from: await program.dataDir('migrated'), to: DATA_DIR })
      const running = await (await program.start([], { env: { ...common, DATA_DIR }, under })).ready()
      // Only that program and its children see the file system.
      const inside = join(`/proc/${running.pid}/root`, at)
      const root = await asRoot(running)
      const kept: string[] = []
      let count = 0
      const add = async (): Promise<number> => {
        const admin = { email: `admin-${++count}@shop.example`, full_name: 'A'.repeat(200), password }
        const { status, body, headers } = await root.post('/tenants', { name: `T${'x'.repeat(200)}`, admin })
        if (status === 201) kept.push(body.id)
        else
          expect([status, body.code, Number(headers.get('retry-after')) > 0]).toEqual([
            503,
            'database_unavailable',
            true,
          ])
        return status
      }
      expect(await add()).toBe(201)
      await Bun.$`sh -c ${fillCommand(inside)}`.quiet()
      await until(async () => (await add()) === 503, 'a refusal', 30_000)
      expect((await root.get(`/tenants/${kept[0]}`)).status).toBe(200)
      expect((await fetch(`${running.url}/healthz`)).status).toBe(200)
      await rm(join(inside, 'fill'))
      await until(async () => (await add()) === 201, 'room again', 5000)
      for (const id of kept) expect((await root.get(`/tenants/${id}`)).status).toBe(200)
      expect(running.output()).toContain('disk is full')
      await expectStops(running)
    },
  )

  test('keeps serving when its log’s reader has gone, and stops cleanly', async () => {
    const env = { ...common, ...(await program.anyDatabase()) }
    // The reader takes the greeting and exits; the pipe breaks at the next line.
    const under = ['bash', '-c', 'exec "$@" > >(sed -u "/MiniMart is ready/q" >&2)', 'bash']
    const started = await program.start([], { env, under })
    const greeting = await until(
      () => /"url":"(http:[^"]+)"/.exec(started.errors())?.[1],
      'the greeting',
      30_000,
    )
    const root = await asRoot({ url: greeting })
    for (let count = 0; count < 50; count++) expect((await root.get('/tenants')).status).toBe(200)
    started.signal('SIGTERM')
    expect(await started.exited).toBe(0)
    expect(started.errors()).not.toContain('EPIPE')
  })

  test('does not block on a log that is not read', async () => {
    const env = { ...common, ...(await program.anyDatabase()), PORT: String(await freePort()) }
    // Nothing reads the pipe, which holds 64 KiB.
    const under = ['bash', '-c', 'exec "$@" > >(exec tail --pid=$$ -f /dev/null >/dev/null 2>&1)', 'bash']
    const started = await program.start([], { env, under })
    const url = `http://127.0.0.1:${env.PORT}`
    await until(
      () =>
        fetch(`${url}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        ),
      'the service',
      30_000,
    )
    const root = await asRoot({ url })
    for (let count = 0; count < 600; count++) expect((await root.get('/tenants')).status).toBe(200)
    started.signal('SIGTERM')
    expect(await started.exited).toBe(0)
  })

  test('survives more connections than it has file descriptors, and serves once they are gone', async () => {
    const env = { ...common, ...(await program.anyDatabase()) }
    const started = await program.start([], { env, under: ['prlimit', '--nofile=120:120'] })
    const running = await started.ready()
    const root = await asRoot(running)
    const { port } = new URL(running.url)
    let answered = 0
    const flood = (sent: string): Socket[] =>
      Array.from({ length: 300 }, () => {
        const socket = connect(Number(port), '127.0.0.1')
        socket.on('error', () => undefined)
        socket.once('data', () => answered++)
        socket.write(sent)
        return socket
      })
    // Kept connections make room by themselves: an answer ends its connection when descriptors run short.
    const kept = flood('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await until(() => answered === kept.length, 'an answer to each')
    const sockets = flood('GET /healthz HTTP/1.1\r\n')
    await until(async () => (await openFiles(running.pid)) >= 119, 'the limit')
    for (const socket of [...kept, ...sockets]) socket.destroy()
    await until(
      () =>
        fetch(`${running.url}/readyz`, { signal: AbortSignal.timeout(2000) }).then(
          ({ ok }) => ok,
          () => false,
        ),
      'an answer again',
    )
    const admin = { email: 'after@shop.example', full_name: 'After', password }
    expect((await root.post('/tenants', { name: 'After the flood', admin })).status).toBe(201)
    await expectStops(running)
  })
})

const openFiles = async (pid: number): Promise<number> =>
  (await Array.fromAsync(new Bun.Glob('*').scan({ cwd: `/proc/${pid}/fd`, onlyFiles: false }))).length

async function freePort(): Promise<number> {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
  listener.stop(true)
  return listener.port
}
