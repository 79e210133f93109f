/** Folders the program cannot use: one sentence that names the variable and what to do. */
import { expect, test } from 'bun:test'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeExecutable, type Outcome } from '../support/program.ts'
import { mayMount, onTmpfs } from '../support/tmpfs.ts'

const expectSentence = ({ code, stdout, stderr }: Outcome, ...words: string[]): void => {
  for (const word of words) expect(stderr).toContain(word)
  expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(3)
  expect(stderr).not.toMatch(/^ +at /m)
  expect([code, stdout]).toEqual([1, ''])
}

describeExecutable('folders that cannot be used', (program) => {
  const serve = (env: Record<string, string>, under: string[] = []): Promise<Outcome> =>
    program.run([], { env: { PORT: '0', ...env }, under })

  test('a TMPDIR that is missing or read-only', async () => {
    const database = await program.anyDatabase()
    const closed = await program.folder()
    await chmod(closed, 0o555)
    for (const TMPDIR of [join(closed, 'missing'), closed]) {
      expectSentence(await serve({ ...database, TMPDIR }), 'TMPDIR', TMPDIR, 'noexec')
      const { code, stdout } = await program.run(['check', '--json'], { env: { ...database, TMPDIR } })
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(code).toBe(1)
      expect(lines.filter(({ ok }) => ok === false)).toEqual([
        {
          check: 'temporary',
          ok: false,
          detail: expect.stringContaining(TMPDIR),
          remedy: expect.stringContaining('TMPDIR'),
        },
      ])
      // The later ones were tried all the same.
      expect(lines.at(-1)).toMatchObject({ check: 'mail', ok: true })
    }
  })

  test.skipIf(!mayMount)('a TMPDIR that is mounted noexec', async () => {
    const DATA_DIR = await program.dataDir('migrated')
    const TMPDIR = await program.folder()
    const under = onTmpfs({ size: '8m', options: 'noexec', at: TMPDIR })
    expectSentence(await serve({ DATA_DIR, TMPDIR }, under), 'TMPDIR', 'noexec')
  })

  test.skipIf(!mayMount)('a DATA_DIR with no room for the first start, or for a later one', async () => {
    const at = await program.folder()
    const DATA_DIR = join(at, 'data')
    expectSentence(await serve({ DATA_DIR }, onTmpfs({ size: '4m', at })), 'DATA_DIR', 'disk', 'full')
    const filled = onTmpfs({
      size: '60m',
      at,
      from: await program.dataDir('migrated'),
      to: DATA_DIR,
      fill: true,
    })
    expectSentence(await serve({ DATA_DIR }, filled), 'DATA_DIR', 'disk', 'full')
    const { stdout } = await program.run(['check', '--json'], { env: { DATA_DIR }, under: filled })
    expect(stdout).toMatch(/"check":"data folder","ok":false,"detail":"[^"]*full/)
  })

  test.skipIf(!mayMount)(
    'a database that does not open on a full disk: the full disk is reported first',
    async () => {
      const [at, from] = [await program.folder(), await program.dataDir('migrated')]
      await writeFile(join(from, 'database', 'global', 'pg_control'), '')
      const DATA_DIR = join(at, 'data')
      const env = { DATA_DIR, JWT_SECRET_KEY: 'tests only: long enough to sign with, 0123456789' }
      expectSentence(await serve({ ...env, DATA_DIR: from }), 'restore a backup')
      // Room enough for everything except another WAL segment.
      const outcome = await serve(env, onTmpfs({ size: '48m', at, from, to: DATA_DIR }))
      expectSentence(outcome, 'DATA_DIR', 'disk', 'full')
      expect(outcome.stderr).not.toContain('restore a backup')
    },
  )

  test.skipIf(!mayMount)('a DATA_DIR on a read-only file system', async () => {
    const at = await program.folder()
    const from = await program.dataDir('migrated')
    const under = onTmpfs({ size: '60m', at, from, to: join(at, 'data'), thenReadOnly: true })
    expectSentence(
      await serve({ DATA_DIR: join(at, 'data') }, under),
      'DATA_DIR',
      'read-only',
      join(at, 'data'),
    )
  })

  test('a DATA_DIR whose database another user owns, a path that is too long, an invalid lock', async () => {
    const foreign = await program.dataDir('migrated')
    await chmod(join(foreign, 'database', 'base'), 0o000)
    expectSentence(await serve({ DATA_DIR: foreign }), 'DATA_DIR', foreign, 'may read and write')

    const long = join(await program.folder(), ...Array.from({ length: 4 }, () => 'x'.repeat(150)))
    expectSentence(await serve({ DATA_DIR: long }), 'DATA_DIR', 'too long')

    const { code, stderr } = await program.run(['migrate', 'up'], { env: { DATA_DIR: '/proc/self/data' } })
    expect(code).toBe(1)
    expect(stderr).toContain('DATA_DIR: /proc/self/data')
    expect(stderr).not.toMatch(/^ +at /m)
  })

  test('a partial signing key is neither left behind nor used', async () => {
    const DATA_DIR = await program.dataDir('migrated')
    await writeFile(join(DATA_DIR, 'jwt-secret-key'), 'short')
    await chmod(join(DATA_DIR, 'jwt-secret-key'), 0o666)
    if (process.getuid?.() === 0) await Bun.$`chown 65534 ${join(DATA_DIR, 'jwt-secret-key')}`.quiet()
    expectSentence(await serve({ DATA_DIR }), 'jwt-secret-key', 'remove it')
  })

  test('works without HOME, in a read-only folder, with a DATA_DIR path of 300 letters', async () => {
    const cwd = await program.folder()
    const DATA_DIR = join(await program.dataDir('migrated'))
    const deep = join(await program.folder(), 'y'.repeat(150), 'y'.repeat(100))
    await mkdir(deep, { recursive: true })
    if (process.getuid?.() === 0) await Bun.$`chown -R 65534 ${deep}`.quiet()
    await Bun.$`cp -a ${DATA_DIR} ${deep}`.quiet()
    await chmod(cwd, 0o555)
    const under = ['env', '--unset=HOME']
    const env = { PORT: '0', DATA_DIR: join(deep, 'data') }
    const running = await (await program.start([], { cwd, env, under })).ready()
    expect((await fetch(`${running.url}/readyz`)).status).toBe(200)
    running.signal('SIGTERM')
    expect(await running.exited).toBe(0)
  })
})
