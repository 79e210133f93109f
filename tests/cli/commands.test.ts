/** The commands that need nothing running, as a user runs them. */
import { expect, test } from 'bun:test'
import { readdir } from 'node:fs/promises'
import packageJson from '../../package.json' with { type: 'json' }
import { describeExecutable } from '../support/program.ts'

/** Ctrl-D */
const endOfTransmission = '\u0004'

describeExecutable('the command line', (program) => {
  test('version, by each of its names, prints the version and nothing else', async () => {
    for (const args of [['version'], ['--version'], ['-v']])
      expect(await program.run(args)).toEqual({ code: 0, stdout: `${packageJson.version}\n`, stderr: '' })
  })

  test.each(['help', 'openapi', 'check'])(
    '%s fails when its output cannot be written to a full disk',
    async (command) => {
      const env = await program.anyDatabase()
      const under = ['sh', '-c', 'exec "$@" >/dev/full', 'sh']
      const { code, stderr } = await program.run([command], { env, under })
      expect([code, stderr]).toEqual([1, expect.stringMatching(/^Standard output cannot be written: .*full/)])
    },
  )

  test('create-admin without a password typed on the terminal creates nothing and says so', async () => {
    const env = await program.anyDatabase()
    const { code, stdout } = await program.run(['create-admin', '--email', 'me@example.com'], {
      env,
      terminal: true,
      stdin: endOfTransmission,
    })
    expect(code).toBe(1)
    expect(stdout).toContain('No password was given, so no account was created.')
  })

  test('help lists every command with one line each, and describes a single one', async () => {
    const { code, stdout } = await program.run(['help'])
    expect(code).toBe(0)
    for (const name of [
      'serve',
      'migrate',
      'create-admin',
      'check',
      'healthcheck',
      'openapi',
      'release-address',
      'demo',
      'version',
      'help',
    ])
      expect(stdout).toMatch(new RegExp(`^ +${name} +\\S`, 'm'))
    const one = await program.run(['help', 'migrate'])
    expect(one.code).toBe(0)
    expect(one.stdout).toContain('minimart migrate up | down [n] | status | finish [--json]')
    expect((await program.run(['migrate', '--help'])).stdout).toBe(one.stdout)
    expect((await program.run(['--help'])).stdout).toBe(stdout)
    expect((await program.run(['help', 'settings'])).stdout).toContain('# DATABASE_URL=')
  })

  test.each([
    [['frobnicate']],
    [['help', 'frobnicate']],
    [['toString']],
    [['help', 'toString']],
    [['serve', '--frobnicate']],
    [['serve', 'now']],
    [['migrate']],
    [['migrate', 'sideways']],
    [['migrate', 'down', '0']],
    [['migrate', 'down', '-1']],
    [['migrate', 'down', 'all']],
    [['migrate', 'up', '1']],
    [['migrate', 'status', '1']],
    [['create-admin']],
    [['create-admin', '--email']],
    [['create-admin', '--email', 'nobody']],
    [['create-admin', '--email', 'a..b@shop.example']],
    [['create-admin', '--email', 'a@b.example', '--name', '']],
    [['create-admin', '--email', 'a@b.example', '--name', `e${'\u0301'.repeat(31)}`]],
    [['openapi', 'x']],
  ])('%j is wrong usage: exit code 2, what is wrong, and where help is', async (args) => {
    const cwd = await program.folder()
    const { code, stdout, stderr } = await program.run(args, { cwd })
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toMatch(/\S+.*\n(.*\n)*Try: minimart help/)
    expect(stderr).not.toMatch(/^ +at /m)
    expect(await readdir(cwd)).toEqual([])
  })

  test('openapi prints the document as JSON, without settings, a database or a file', async () => {
    const cwd = await program.folder()
    const { code, stdout } = await program.run(['openapi'], { cwd, env: { PORT: 'none' } })
    expect(code).toBe(0)
    const document = JSON.parse(stdout)
    expect(document.openapi).toMatch(/^3\.1\./)
    expect(Object.keys(document.paths)).toContain('/api/v1/shopping-lists/{id}/items')
    expect(await readdir(cwd)).toEqual([])
  })

  test('healthcheck exits with 1 where nothing listens', async () => {
    const { code, stderr } = await program.run(['healthcheck'], { env: { PORT: '1' } })
    expect(code).toBe(1)
    expect(stderr).toContain('http://127.0.0.1:1/readyz does not answer')
  })

  test.each(['serve', 'check', 'migrate', 'demo'])(
    '%s reports all invalid settings together, by name, without their values, and does nothing',
    async (command) => {
      const cwd = await program.folder()
      const { code, stdout, stderr } = await program.run(
        command === 'migrate' ? ['migrate', 'up'] : [command],
        {
          cwd,
          env: {
            PORT: 'eighty',
            JWT_SECRET_KEY: 'too-short-to-be-secret',
            LOG_LEVEL: 'loud',
            RATE_LIMIT_AUTH: 'many',
            SUPER_ADMIN_PASSWORD: 'sesame',
            CORS_ORIGINS: 'everyone',
            SMTP_SECURE: 'very',
            TRUST_PROXY: 'yes',
            ACCESS_TOKEN_TTL_MINUTES: '0',
          },
        },
      )
      expect(code).toBe(1)
      // For whoever pipes it, check prints each fault as JSON too.
      const reported = stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
      expect(reported.length).toBe(command === 'check' ? (stderr.match(/^ +[A-Z_]+ /gm)?.length ?? 0) : 0)
      for (const line of reported) expect(line).toMatchObject({ check: 'settings', ok: false })
      for (const name of ['PORT', 'JWT_SECRET_KEY', 'LOG_LEVEL', 'RATE_LIMIT_AUTH', 'SUPER_ADMIN_PASSWORD'])
        expect(stderr).toMatch(new RegExp(`^ +.*${name}`, 'm'))
      for (const name of ['CORS_ORIGINS', 'SMTP_SECURE', 'TRUST_PROXY', 'ACCESS_TOKEN_TTL_MINUTES'])
        expect(stderr).toMatch(new RegExp(`^ +.*${name}`, 'm'))
      expect(stdout + stderr).not.toContain('too-short-to-be-secret')
      expect(stdout + stderr).not.toContain('sesame')
      expect(stderr).not.toMatch(/^ +at /m)
      expect(await readdir(cwd)).toEqual([])
    },
  )

  test('DATABASE_URL without JWT_SECRET_KEY is refused before any connection is made', async () => {
    const { code, stderr } = await program.run(['serve'], {
      env: { DATABASE_URL: 'postgres://a:b@127.0.0.1:1/c' },
    })
    expect(code).toBe(1)
    expect(stderr).toContain('JWT_SECRET_KEY is required with DATABASE_URL')
  })
})
