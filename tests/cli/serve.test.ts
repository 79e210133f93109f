/** Starting the service, as a newcomer and an operator see it. */

import { expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createClient } from '../support/client.ts'
import { describePostgres, testPostgres } from '../support/postgres.ts'
import { describeExecutable } from '../support/program.ts'
import { onFreePort } from '../support/service.ts'
import { until } from '../support/until.ts'

const hasIpv6 = ((): boolean => {
  try {
    Bun.listen({ hostname: '::1', port: 0, socket: { data() {} } }).stop(true)
    return true
  } catch {
    return false
  }
})()

describeExecutable('serve', (program) => {
  test('in a pipe: only JSON lines, with the API, the docs, the mails and how to sign in', async () => {
    const cwd = await program.folder()
    const started = await program.start([], { cwd, env: { PORT: '0' } })
    const { url } = await started.ready()
    const lines = started.lines()
    expect(lines).toHaveLength(started.output().trim().split('\n').length)
    expect(lines.find(({ message }) => message === 'MiniMart is ready')).toMatchObject({
      url,
      api: `${url}/api/v1`,
      docs: `${url}/docs`,
      mails: join(cwd, 'minimart-data/outbox'),
    })
    const { email, password } = lines.find((line) => 'password' in line) ?? {}
    expect(email).toBe('admin@minimart.local')
    const answer = await createClient(url).post('/auth/login', { email, password })
    expect(answer.status).toBe(200)
    expect((await fetch(`${url}/docs`)).status).toBe(200)
    const health = await program.run(['healthcheck'], { env: { PORT: new URL(url).port } })
    expect(health.code).toBe(0)
    expect(JSON.parse(health.stdout)).toMatchObject({ status: 'ready' })
    started.signal('SIGTERM')
    expect(await started.exited).toBe(0)

    // The password was shown once; only the owner can access the folder and its files.
    const again = await program.start([], { cwd, env: { PORT: '0' } })
    await again.ready()
    expect(again.output()).not.toContain(String(password))
    expect(again.lines().some((line) => 'password' in line)).toBe(false)
    again.signal('SIGTERM')
    expect(await again.exited).toBe(0)
    expect((await stat(join(cwd, 'minimart-data'))).mode & 0o077).toBe(0)
    expect((await stat(join(cwd, 'minimart-data/jwt-secret-key'))).mode & 0o077).toBe(0)
    expect(await readdir(cwd)).toContain('minimart-data')
  })

  test('on a terminal: text for people, no JSON', async () => {
    const env = { PORT: '0', DATA_DIR: await program.dataDir('migrated') }
    const started = await program.start(['serve'], { env, terminal: true })
    const { url } = await started.ready()
    const shown = Bun.stripANSI(started.output())
    expect(shown).toContain('is ready.')
    expect(shown).toContain(`API      ${url}/api/v1`)
    expect(shown).toContain(`Docs     ${url}/docs`)
    expect(shown).toMatch(/Mails {4}\/\S+\/outbox/)
    expect(shown).toMatch(/Sign in {2}admin@minimart\.local with the password \S+ \(shown only once\)/)
    expect(shown).not.toMatch(/^\{/m)
  })

  test('a port that is taken: exit code 1 and a sentence with the port', async () => {
    const taken = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('mine') })
    const { port } = taken
    const DATA_DIR = join(await program.folder(), 'data')
    const { code, stderr, stdout } = await program.run(['serve'], { env: { DATA_DIR, PORT: String(port) } })
    expect(await (await fetch(taken.url)).text()).toBe('mine')
    expect(stdout).not.toContain('password')
    await taken.stop(true)
    expect(code).toBe(1)
    expect(stderr).toMatch(new RegExp(`port ${port}.*(taken|in use)`, 'i'))
    expect(stderr).toContain('PORT')
    expect(stderr).not.toMatch(/^ +at /m)
    expect(existsSync(DATA_DIR)).toBe(false)
    // The first super admin's password is shown by the first start that succeeds.
    const next = await program.start(['serve'], {
      env: { DATA_DIR: await program.dataDir('migrated'), PORT: '0' },
    })
    await next.ready()
    await until(() => /"password":"[^"]+"/.test(next.output()), 'the password')
    next.signal('SIGTERM')
    expect(await next.exited).toBe(0)
  })

  // The embedded database runs one statement at a time, so the race cannot happen there.
  describePostgres('with PostgreSQL', () => {
    test('is ready only once its first super admin can sign in', async () => {
      const { url: DATABASE_URL, drop } = await (await testPostgres()).createDatabase()
      const PORT = await onFreePort(async (port) => String(port))
      const [email, password] = ['root@platform.example', 'a long enough passphrase']
      const admin = { SUPER_ADMIN_EMAIL: email, SUPER_ADMIN_PASSWORD: password }
      const JWT_SECRET_KEY = 'tests only: long enough to sign with, 0123456789'
      const started = await program.start([], { env: { PORT, DATABASE_URL, JWT_SECRET_KEY, ...admin } })
      const url = `http://127.0.0.1:${PORT}`
      const isReady = (): Promise<boolean> =>
        fetch(`${url}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        )
      while (!(await isReady()));
      expect((await createClient(url).post('/auth/login', { email, password })).status).toBe(200)
      started.signal('SIGTERM')
      expect(await started.exited).toBe(0)
      await drop()
    })
  })

  test.each(['203.0.113.7', 'no-such-name.invalid'])(
    'an address this machine does not have, %s: exit code 1 and a sentence',
    async (HOST) => {
      const env = { PORT: '0', HOST, DATA_DIR: await program.dataDir('migrated') }
      const { code, stderr } = await program.run(['serve'], { env })
      expect(code).toBe(1)
      expect(stderr).toContain('HOST')
      expect(stderr).toContain(HOST)
      expect(stderr).not.toMatch(/^ +at /m)
    },
  )

  test.skipIf(!hasIpv6)('on an IPv6 address healthcheck asks there', async () => {
    const env = { PORT: '0', HOST: '::1', ...(await program.anyDatabase()) }
    const running = await (await program.start([], { env })).ready()
    const { port } = new URL(running.url)
    const health = await program.run(['healthcheck'], { env: { HOST: '::1', PORT: port } })
    expect([health.code, JSON.parse(health.stdout)]).toMatchObject([0, { status: 'ready' }])
    running.signal('SIGTERM')
    expect(await running.exited).toBe(0)
  })

  test('a DATA_DIR that is a file, or that cannot be written: exit code 1 and a sentence', async () => {
    const cwd = await program.folder()
    await writeFile(join(cwd, 'file'), 'not a folder')
    await mkdir(join(cwd, 'locked'))
    await chmod(join(cwd, 'locked'), 0o555)
    for (const folder of ['file', 'locked']) {
      const { code, stderr } = await program.run(['serve'], { cwd, env: { PORT: '0', DATA_DIR: folder } })
      expect(code).toBe(1)
      expect(stderr).toContain('DATA_DIR')
      expect(stderr).toContain(folder)
      expect(stderr).not.toMatch(/^ +at /m)
    }
  })

  test('a second server on the same DATA_DIR is refused immediately, while the first keeps serving', async () => {
    const env = { PORT: '0', DATA_DIR: await program.dataDir('migrated') }
    const first = await (await program.start([], { env })).ready()
    const begun = performance.now()
    const { code, stderr } = await program.run([], { env })
    expect(code).toBe(1)
    expect(performance.now() - begun).toBeLessThan(5000)
    expect(stderr).toContain('Another MiniMart process uses the data folder')
    expect(stderr).toContain('DATA_DIR')
    expect(stderr).not.toMatch(/^ +at /m)
    expect((await fetch(`${first.url}/readyz`)).status).toBe(200)
    first.signal('SIGTERM')
    expect(await first.exited).toBe(0)
  })
})
