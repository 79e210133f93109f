/** Whatever is killed, and whenever: a data folder holds the old or the new state whole, and needs no manual cleanup. */
import { afterEach, beforeAll, expect, test } from 'bun:test'
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type CopyLease, requestCopy } from '../../src/backup/control-client.ts'
import { createClient } from '../support/client.ts'
import { describeExecutable, type Running } from '../support/program.ts'
import { isLong } from '../support/rounds.ts'
import { until } from '../support/until.ts'
import { expectRefused, giveToProgram, resultOf, serve, stop } from './setup.ts'

const strace = Bun.which('strace')
/** One rename to `restored-…`, two set aside, one to `placing-…`, two into place. */
const movesOfARestore = 6
/** Longer than Bun's 10 s idle timeout for a silent response plus its 4 s check interval. */
const longMs = 15_000
/** The rename that decides, counted from the last. */
const decisive = movesOfARestore - 1
/** One after which neither database nor key is in place: a starting server completes that restore. */
const servedAfter = 2
/** Renames to be killed at, counted from the last; null is the first of all, while the database is being checked. */
const kills = isLong
  ? [null, ...Array.from({ length: movesOfARestore }, (_, index) => index).toReversed()]
  : [decisive, servedAfter]

describeExecutable('cut off', (program) => {
  let folder: string
  let file: string
  /** Taken first and checked last, so that the other tests pass the time. */
  let held: { lease: CopyLease | null; since: number; server: Running }
  const envOf = (name: string) => ({ DATA_DIR: join(folder, name), PORT: '0' })
  const keyOf = (name: string) => join(folder, name, 'jwt-secret-key')
  const writeKey = async (name: string, key: string): Promise<void> => {
    await writeFile(keyOf(name), key)
    await giveToProgram(keyOf(name))
  }
  beforeAll(async () => {
    folder = await program.folder()
    file = join(folder, 'backup.tar.gz')
    await rename(await program.dataDir('migrated'), join(folder, 'old'))
    await writeKey('old', 'new '.repeat(16))
    expect((await program.run(['backup', file], { env: envOf('old') })).code).toBe(0)
    expect((await program.run(['migrate', 'down'], { env: envOf('old') })).code).toBe(0)
    await writeKey('old', 'old '.repeat(16))
    const dataDir = await program.dataDir('migrated')
    const server = await serve(program, { DATA_DIR: dataDir, PORT: '0' })
    held = { lease: await requestCopy(dataDir, 'backup', () => undefined), since: performance.now(), server }
  }, 60_000)

  /** Which of the two states the folder holds; there must be no third. */
  const whole = async (name: string): Promise<'old' | 'new'> => {
    const { code, stdout, stderr } = await program.run(['migrate', 'status'], { env: envOf(name) })
    expect([code, stderr]).toEqual([0, ''])
    const found = stdout.includes('pending') ? 'old' : 'new'
    expect((await readFile(keyOf(name), 'utf8')).trim().split(' ')[0]).toBe(found)
    expect((await readdir(join(folder, name))).filter((entry) => /^(restor|placing)/.test(entry))).toEqual([])
    return found
  }

  /** A server that completes the restore signs with the restored key: its tokens are valid after the next start. */
  const expectKeyInForce = async (name: string): Promise<void> => {
    const credentials = { email: 'root@platform.example', password: 'a long enough passphrase' }
    const env = {
      ...envOf(name),
      SUPER_ADMIN_EMAIL: credentials.email,
      SUPER_ADMIN_PASSWORD: credentials.password,
    }
    const first = await serve(program, env)
    const { body } = await createClient(first.url).post('/auth/login', credentials)
    await stop(first)
    const second = await serve(program, env)
    expect((await createClient(second.url, body.access_token).get('/auth/me')).status).toBe(200)
    await stop(second)
  }

  test.skipIf(strace === null)(
    'a restore killed at any of its renames',
    async () => {
      const restore = async (name: string, ...inject: string[]): Promise<string> => {
        expect(Bun.spawnSync(['cp', '-a', join(folder, 'old'), join(folder, name)]).exitCode).toBe(0)
        const trace = join(folder, `${name}.trace`)
        const under = ['strace', '-f', '-e', 'trace=rename', ...inject, '-o', trace]
        await program.run(['restore', file, '--force'], { env: envOf(name), under })
        return await readFile(trace, 'utf8')
      }
      const movesIn = (trace: string): number => trace.match(/rename\(/g)?.length ?? 0
      let moves = movesIn(await restore('not-killed'))
      expect(await whole('not-killed')).toBe('new')
      /** PostgreSQL may rename a file more or less while the database is being checked. */
      const restoreKilled = async (name: string, fromLast: number | null): Promise<void> => {
        for (let tries = 0; tries < 5; tries++) {
          const when = fromLast === null ? 1 : moves - fromLast
          const trace = await restore(name, '-e', `inject=rename:signal=SIGKILL:when=${when}`)
          if (trace.includes('killed by SIGKILL')) return
          moves = movesIn(trace)
          await rm(join(folder, name), { recursive: true })
        }
        throw new Error(`the restore into ${name} was never killed`)
      }
      const remaining = kills.values()
      const killSome = async (): Promise<void> => {
        for (const fromLast of remaining) {
          const name = `killed-${fromLast}`
          await restoreKilled(name, fromLast)
          if (fromLast === servedAfter) await expectKeyInForce(name)
          const outcome = await whole(name)
          if (fromLast !== decisive)
            expect([name, outcome]).toEqual([name, fromLast === null ? 'old' : 'new'])
        }
      }
      await Promise.all([killSome(), killSome(), killSome()])
    },
    90_000,
  )

  let server: Running | undefined
  afterEach(() => server?.signal('SIGKILL'))

  test('a server killed during a backup: the next start cleans up, and its socket works', async () => {
    const dataDir = join(folder, 'old')
    for (const name of ['backup-copy', 'restoring']) {
      await mkdir(join(dataDir, name))
      await giveToProgram(join(dataDir, name))
    }
    const killed = await serve(program, envOf('old'))
    killed.signal('SIGKILL')
    await killed.exited
    expect(await readdir(join(dataDir, 'control'))).toEqual(['socket'])
    server = await serve(program, envOf('old'))
    expect(await readdir(dataDir)).not.toContain('backup-copy')
    expect(await readdir(dataDir)).not.toContain('restoring')
    const result = resultOf(
      await program.run(['backup', join(folder, 'again.tar.gz'), '--json'], { env: envOf('old') }),
    )
    expect(result['paused_ms']).toBeNumber()
    await stop(server)
    expect(await readdir(join(dataDir, 'control'))).toEqual([])
  }, 60_000)

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'a backup interrupted by %s leaves no file behind',
    async (signal) => {
      const place = await program.folder()
      const backup = await program.start(['backup', join(place, 'x.tar.gz')], { env: envOf('old') })
      await until(async () => (await readdir(place)).length > 0, 'the file')
      expect(await readdir(place)).toEqual(['x.tar.gz.part'])
      backup.signal(signal)
      expect([await backup.exited, backup.errors()]).toEqual([1, expect.not.stringContaining(' at ')])
      expect(await readdir(place)).toEqual([])
    },
  )

  test('a backup whose reader stalls excludes others; killed, its copy is removed; a server that stops ends it', async () => {
    server = await serve(program, envOf('old'))
    const { output } = server
    const hasCopy = async () => (await readdir(join(folder, 'old'))).includes('backup-copy')
    const copies = () => output().split('Copied the database').length - 1
    const stalled = async (number: number) => {
      const fifo = join(folder, `fifo-${number}`)
      expect(Bun.spawnSync(['mkfifo', fifo]).exitCode).toBe(0)
      const opening = open(fifo, 'r')
      const command = (await program.command(['backup', '-'])).map((part) => `'${part}'`).join(' ')
      const child = Bun.spawn(['sh', '-c', `exec ${command} > '${fifo}'`], {
        env: { PATH: process.env['PATH'], TMPDIR: folder, ...envOf('old') },
        stderr: 'pipe',
      })
      const reader = await opening
      await until(() => copies() === number, 'the copy')
      return { child, reader }
    }
    const first = await stalled(1)
    const refused = await program.run(['backup', join(folder, 'second.tar.gz')], { env: envOf('old') })
    expectRefused(refused, 'Another backup or export is running')
    expect(await hasCopy()).toBe(true)
    first.child.kill('SIGKILL')
    await until(async () => !(await hasCopy()), 'the end of the copy')
    await first.reader.close()

    const second = await stalled(2)
    await stop(server)
    expect(await hasCopy()).toBe(false)
    await second.reader.readFile()
    await second.reader.close()
    expect(await second.child.exited).toBe(1)
    expect(await new Response(second.child.stderr).text()).toContain(
      'The server stopped meanwhile. Try again.',
    )
  }, 60_000)

  test('a copy is kept for as long as its lease is held', async () => {
    await until(() => performance.now() - held.since > longMs, 'time to pass', longMs)
    expect([await held.lease?.isHeld(), held.lease?.stopped.aborted]).toEqual([true, false])
    await stop(held.server)
    await until(() => held.lease?.stopped.aborted, 'the end of the copy')
  })
})
