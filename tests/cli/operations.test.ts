/** What an operator does besides serving: migrations, the first super admin, checking the settings. */
import { expect, test } from 'bun:test'
import postgres from 'postgres'
import { createClient } from '../support/client.ts'
import type { DataDirState } from '../support/data-dir.ts'
import { testPostgres } from '../support/postgres.ts'
import { describeExecutable, type Program } from '../support/program.ts'
import { testRedis } from '../support/redis.ts'
import { type Backend, describeBackends } from '../support/server.ts'
import { until } from '../support/until.ts'

/** With blanks and an accent in decomposed form, as a file may hold it. */
const password = ' a long enough passphrase\u0301 '
const secret = 'tests only: long enough to sign with, 0123456789'

/** Settings of an empty installation. */
async function freshSettings(
  backend: Backend,
  program: Program,
  state: DataDirState = 'empty',
): Promise<Record<string, string>> {
  const dataDir = await program.dataDir(backend === 'embedded' ? state : undefined)
  const common = { PORT: '0', DATA_DIR: dataDir, RATE_LIMIT_AUTH: 'off' }
  if (backend === 'embedded') return common
  const [postgres, redis] = await Promise.all([testPostgres(), testRedis()])
  const [{ url }, redisUrl] = await Promise.all([postgres.createDatabase(), redis.freshDatabase()])
  return { ...common, DATABASE_URL: url, REDIS_URL: redisUrl, JWT_SECRET_KEY: secret }
}

const machineChecks = ['settings', 'data folder', 'temporary', 'descriptors']
const inDatabase = ['role', 'migrations', 'neighbours']
const allChecks = [...machineChecks, 'database', ...inDatabase, 'redis', 'mail']

describeExecutable('operating', (program) => {
  describeBackends('with', (backend) => {
    test('migrate goes up, reports its status, and goes down again, step by step', async () => {
      const env = await freshSettings(backend, program)
      const migrate = async (...args: string[]) => {
        const { code, stdout, stderr } = await program.run(['migrate', ...args], { env })
        expect(code).toBe(0)
        // Progress must not get into the result on standard output.
        expect(stdout).not.toContain('Migration')
        expect(stderr.includes('Migration')).toBe(/^(up|down): /.test(stdout))
        return stdout
      }
      const steps = (status: string) =>
        [...status.matchAll(/^(\d{4}) {2}(\w+) +(\S+)$/gm)].map(([, number, name, at]) => ({
          number,
          name,
          at,
        }))
      const empty = steps(await migrate('status'))
      expect(empty.length).toBeGreaterThanOrEqual(2)
      expect(empty.every(({ at }) => at === 'pending')).toBe(true)
      const names = empty.map(({ number, name }) => (name?.startsWith(`${number}`) ? name : `${name}`))
      expect(await migrate('up')).toContain('up: ')
      expect(await migrate('up')).toContain('Nothing to do.')
      expect(steps(await migrate('status')).every(({ at }) => at !== 'pending')).toBe(true)
      // The rest is the same on both backends, and each of these commands opens the database again.
      if (backend === 'embedded') return
      const down = await migrate('down')
      expect(down).toContain(String(names.at(-1)))
      expect(down).not.toContain(String(names.at(-2)))
      expect(steps(await migrate('status')).filter(({ at }) => at === 'pending')).toHaveLength(1)
      await migrate('down', '100')
      expect(steps(await migrate('status')).every(({ at }) => at === 'pending')).toBe(true)
      expect(await migrate('down')).toContain('Nothing to do.')
      await migrate('up')
      const check = await program.run(['check'], { env })
      expect(check.code).toBe(0)
    })

    test('create-admin reads the password from standard input; the admin can sign in; a second one is refused', async () => {
      const env = await freshSettings(backend, program, 'migrated')
      const create = (stdin: string) =>
        program.run(['create-admin', '--email', 'Boss@Platform.example', '--name', 'The Boss'], {
          env,
          stdin,
        })
      const weak = await create('short\n')
      expect([weak.code, weak.stdout]).toEqual([1, ''])
      expect(weak.stderr).toContain('8 to 128 characters')
      const none = await create('')
      expect(none.code).toBe(1)
      const { code, stdout } = await create(`${password}\n`)
      expect(code).toBe(0)
      expect(stdout).toContain('boss@platform.example can now sign in as super admin.')
      const again = await create(`${password}\n`)
      expect([again.code, again.stdout]).toEqual([1, ''])
      expect(again.stderr).toContain('There is an account with this e-mail address already')
      expect(again.stderr).not.toMatch(/^ +at /m)
      const started = await program.start(['serve'], { env })
      const { url } = await started.ready()
      const answer = await createClient(url).post('/auth/login', { email: 'boss@platform.example', password })
      expect(answer.status).toBe(200)
      expect(answer.body.user).toMatchObject({ role: 'super_admin', full_name: 'The Boss', tenant_id: null })
      // There is a super admin already, so serve creates none.
      expect(started.output()).not.toContain('admin@minimart.local')
      started.signal('SIGTERM')
      expect(await started.exited).toBe(0)
    })

    test('check exits with 0 when all is well, prints a line per check, and changes nothing', async () => {
      const env = await freshSettings(backend, program)
      const { code, stdout } = await program.run(['check', '--json'], { env })
      expect(stdout).toContain('pending')
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(lines.filter(({ ok }) => !ok)).toEqual([])
      expect(code).toBe(0)
      expect(lines.map(({ check }) => check)).toEqual(allChecks)
      const status = await program.run(['migrate', 'status', '--json'], { env })
      const { current, migrations } = JSON.parse(status.stdout)
      expect(current).toBe(false)
      expect(migrations[0]).toEqual({
        version: 0,
        name: '0000_initial',
        state: 'pending',
        applied_at: null,
      })
    })
  })

  test('create-admin prompts on a terminal, without echoing the password', async () => {
    const env = await freshSettings('full', program)
    const command = await program.command(['create-admin', '--email', 'boss@platform.example'])
    const quoted = command.map((part) => `'${part}'`).join(' ')
    const child = Bun.spawn(['script', '-qefc', quoted, '/dev/null'], {
      env: { PATH: process.env['PATH'] ?? '', TERM: 'xterm', TMPDIR: await program.folder(), ...env },
      stdin: 'pipe',
      stdout: 'pipe',
    })
    let shown = ''
    const reading = (async () => {
      const decoder = new TextDecoder()
      for await (const chunk of child.stdout) shown += decoder.decode(chunk, { stream: true })
    })()
    await until(() => shown.includes('Password for boss@platform.example: '), 'the prompt', 20_000)
    child.stdin.write(`${password}\r`)
    await child.stdin.flush()
    expect(await child.exited).toBe(0)
    await reading
    expect(shown).toContain('can now sign in as super admin.')
    expect(shown).not.toContain(password)
  })

  test('check exits with 1 and says what to do: database, Redis and mail server down', async () => {
    const env = {
      DATABASE_URL: 'postgres://someone:sesame-open@127.0.0.1:1/nowhere',
      REDIS_URL: 'redis://:sesame-open@127.0.0.1:1',
      SMTP_HOST: '127.0.0.1',
      SMTP_PORT: '1',
      JWT_SECRET_KEY: secret,
    }
    const { code, stdout } = await program.run(['check', '--json'], { env })
    expect(code).toBe(1)
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.map(({ check }) => check)).toEqual(allChecks)
    const of = (name: string) => lines.find(({ check }) => check === name)
    for (const [name, remedy] of [
      ['database', 'DATABASE_URL'],
      ['redis', 'REDIS_URL'],
      ['mail', 'SMTP_'],
    ] as const)
      expect(of(name)).toMatchObject({ ok: false, remedy: expect.stringContaining(remedy) })
    for (const name of inDatabase) expect(of(name)).toMatchObject({ ok: null })
    for (const name of machineChecks) expect(of(name)).toMatchObject({ ok: true })
    expect(stdout).not.toContain('sesame')

    const words = await program.run(['check'], { env, terminal: true })
    expect(words.code).toBe(1)
    const shown = Bun.stripANSI(words.stdout).replaceAll('\r', '')
    expect(shown).toMatch(/^✓ settings /m)
    expect(shown).toMatch(/^✗ redis .*\n +→ Check REDIS_URL/m)
    expect(shown).toMatch(/^– role /m)
    expect(words.stdout + words.stderr).not.toContain('sesame')
  })

  test('check reports a role that bypasses row-level security', async () => {
    const env = await freshSettings('full', program)
    const admin = postgres(env['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
    const name = `bypass_${crypto.randomUUID().slice(0, 8)}`
    const url = new URL(env['DATABASE_URL'] ?? '')
    try {
      await admin.unsafe(`create role ${name} login bypassrls`)
      url.username = name
      const { code, stdout } = await program.run(['check', '--json'], {
        env: { ...env, DATABASE_URL: url.href },
      })
      expect(code).toBe(1)
      expect(stdout).toMatch(/"check":"role","ok":false,"detail":"Row-level security[^"]*BYPASSRLS/)
    } finally {
      await admin.unsafe(`drop role ${name}`)
      await admin.end({ timeout: 2 })
    }
  })
})
