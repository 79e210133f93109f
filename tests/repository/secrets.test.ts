/** No secrets in the repository, image or executable; those in DATA_DIR are readable only by its owner. */
import { afterAll, describe, expect, test } from 'bun:test'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { loadConfig } from '../../src/config/config.ts'
import { generatedSecret, prepareDataDir } from '../../src/data-dir/data-dir.ts'
import { fillDataDir } from '../support/data-dir.ts'
import { freshEmail, goodPassword, superAdmin } from '../support/people.ts'
import { executableBuilt } from '../support/program.ts'
import { startServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const root = resolve(import.meta.dir, '../..')
const read = (name: string): Promise<string> => readFile(join(root, name), 'utf8')

const tracked = Bun.spawnSync(['git', 'ls-files', '-z'], { cwd: root })
  .stdout.toString()
  .split('\0')
  .filter(Boolean)
const texts = await Promise.all(
  tracked
    .filter((name) =>
      /\.(ts|js|json|ya?ml|md|sql|html|css|svg|toml|lock|example)$|^[^.]+$|^\.\w+$/.test(name),
    )
    .map(async (name) => ({ name, text: await read(name) })),
)

/** Patterns of real keys, split so that this file does not match. */
const kinds: Record<string, RegExp> = {
  'a private key': new RegExp(`-----BEGIN [A-Z ]*${'PRIVATE'} KEY-----`),
  'a key of a cloud or a code host':
    /\b(AKIA[0-9A-Z]{16}|gh[pousr]_\w{36}|github_pat_\w{22}|glpat-[\w-]{20}|xox[abprs]-[\w-]{10,}|sk-[\w-]{32,}|npm_\w{36}|AIza[\w-]{35})\b/,
  'a signed token': /\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.(?!c2lnbmF0dXJl\b)[\w-]{20,}/,
  'a password hash':
    /\$argon2(id|i|d)\$v=\d+\$[mtp=\d,]+\$[\w+/]{11,}\$[\w+/]{20,}|\$2[aby]\$\d\d\$[\w./]{53}/,
}

describe('the repository', () => {
  test('is searched completely', () => {
    expect(texts.length).toBeGreaterThan(300)
    expect(texts.map(({ name }) => name)).toContain('docker-compose.yml')
    expect(texts.map(({ name }) => name)).toContain('.env.example')
  })

  test('has no key, credential or environment file', () => {
    const secret =
      /(^|\/)(\.env(\..+)?|id_\w+|\.netrc|\.npmrc|\.pgpass|.*\.(pem|key|p12|pfx|jks|eml)|jwt-secret-key|minimart-data)(\/|$)/
    expect(tracked.filter((name) => secret.test(name) && name !== '.env.example')).toEqual([])
    for (const name of ['.env', 'minimart-data/jwt-secret-key', 'dist/minimart', 'server.log'])
      expect(Bun.spawnSync(['git', 'check-ignore', '-q', name], { cwd: root }).exitCode, name).toBe(0)
  })

  test('contains no key, signed token or password hash', () => {
    for (const [kind, pattern] of Object.entries(kinds))
      expect(texts.filter(({ text }) => pattern.test(text)).map(({ name }) => `${name}: ${kind}`)).toEqual([])
  })

  test('sets no secret in its deployment files', async () => {
    const ofSecrets =
      /^[\s#-]*(?:\w*(?:PASSWORD|SECRET|TOKEN|API_KEY)(?!_TTL)\w*)\s*[:=][ \t]*["']?(?!\$\{)([^\s"'#]+)/gim
    for (const name of ['.env.example', 'docker-compose.yml', 'Dockerfile']) {
      const found = [...(await read(name)).matchAll(ofSecrets)].filter(
        ([line]) => !/openssl rand|characters/.test(line),
      )
      expect(found.map(([line]) => `${name}: ${line}`)).toEqual([])
    }
    const withPassword = /\b\w+:\/\/[^\s:/@"'`$]*:(?!password@|\$\{|§)[^\s/@"'`$]+@/g
    for (const { name, text } of texts.filter(({ name }) => !name.startsWith('tests/')))
      expect([...text.matchAll(withPassword)].map(([url]) => `${name}: ${url}`)).toEqual([])
  })
})

describe('the image', () => {
  test('is built only from what the build reads: no settings, data or history', async () => {
    const ignored = (await read('.dockerignore'))
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(ignored).toEqual([
      '*',
      '!package.json',
      '!bun.lock',
      '!bunfig.toml',
      '!tsconfig.json',
      '!drizzle',
      '!src',
    ])
    const dockerfile = await read('Dockerfile')
    const copied = [...dockerfile.matchAll(/^(?:COPY|ADD) (?!--from)(.+) \S+$/gm)].flatMap(([, names]) =>
      names?.split(' '),
    )
    expect(copied).toEqual(['package.json', 'bun.lock', 'bunfig.toml', 'tsconfig.json', 'drizzle', 'src'])
    expect(dockerfile).not.toMatch(/^(ARG|ENV) .*(PASSWORD|SECRET|TOKEN)|--mount=type=secret|curl|wget/im)
    expect(dockerfile).toMatch(/^USER (?!0|root)\S+$/m)
  })

  test.skipIf(!executableBuilt)(
    'has an executable without paths or settings of the build machine',
    async () => {
      const program = Buffer.from(
        await Bun.file(process.env['MINIMART_EXECUTABLE'] ?? join(root, 'dist/minimart')).arrayBuffer(),
      )
      const settings = Object.entries(process.env).flatMap(([name, value = '']) =>
        /PASSW|SECRET|TOKEN|_KEY|_URL$/i.test(name) && value.length > 11 ? [value] : [],
      )
      for (const text of [`${root}/`, '/.env\0', ...settings]) expect(program.includes(text)).toBe(false)
      for (const kind of ['a key of a cloud or a code host', 'a signed token']) {
        const pattern = new RegExp(kinds[kind] ?? /$/, 'g')
        expect([...program.toString('latin1').matchAll(pattern)].map(([found]) => found)).toEqual([])
      }
    },
    30_000,
  )
})

test('a signing key from a guide, an example or this repository is refused at start', async () => {
  const samples = [
    ...['a-string-secret-at-least-256-bits-long', 'A-STRING-SECRET-AT-LEAST-256-BITS-LONG'],
    ...[
      '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
      'your-256-bit-secret-your-256-bit-secret',
    ],
    ...['change-me-change-me-change-me-change-me', 'CHANGE_THIS_SECRET_KEY_IN_PRODUCTION_PLEASE'],
    ...['replace-this-with-a-real-secret-key-of-32', 'your_super_secret_jwt_key_that_is_long_enough'],
    ...[
      'this-is-a-secret-key-for-jwt-that-is-at-least-32-bytes',
      'insert-your-secret-key-here-insert-it-here',
    ],
  ]
  const documented = [
    ...`${await read('README.md')}\n${await read('.env.example')}`.matchAll(
      /JWT_SECRET_KEY=["']?([^\s"'`$]{32,})/g,
    ),
  ]
  for (const key of [...samples, ...documented.map(([, key]) => key ?? '')]) {
    expect(() => loadConfig({ JWT_SECRET_KEY: key }), key).toThrow('JWT_SECRET_KEY is a known sample value')
    expect(() => loadConfig({ JWT_PREVIOUS_SECRET_KEYS: key }), key).toThrow('JWT_PREVIOUS_SECRET_KEYS')
  }
  const faulty = {
    JWT_SECRET_KEY: 'sesame',
    DATABASE_URL: 'nonsense://u:sesame@h',
    SUPER_ADMIN_PASSWORD: 'sesame',
    SMTP_PASSWORD: 'sesame',
  }
  expect(() => loadConfig(faulty)).toThrow(/^(?!.*sesame)/s)
})

const folders: string[] = []
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))))

async function temporary(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'minimart-secrets-'))
  folders.push(folder)
  return folder
}

/** Everything in the folder that others could read, with its mode. */
async function openToOthers(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true })
  const modes = await Promise.all(
    names.map(async (name) => ({ name, mode: (await stat(join(folder, name))).mode & 0o777 })),
  )
  return modes
    .filter(({ mode }) => (mode & 0o077) !== 0)
    .map(({ name, mode }) => `${name} ${mode.toString(8)}`)
}

describe('DATA_DIR', () => {
  test('and everything in it is private to its owner, even if folders existed and were open', async () => {
    const mask = process.umask(0)
    try {
      const dataDir = await temporary()
      await chmod(dataDir, 0o755)
      await mkdir(join(dataDir, 'outbox'), { mode: 0o755 })
      if (await fillDataDir(dataDir)) await chmod(join(dataDir, 'database'), 0o755)
      else await mkdir(join(dataDir, 'database'), { mode: 0o755 })
      await writeFile(join(dataDir, 'jwt-secret-key'), 'x'.repeat(64), { mode: 0o644 })
      const server = await startServer('embedded', { DATA_DIR: dataDir, SMTP_HOST: '', JWT_SECRET_KEY: '' })
      const admin = { email: freshEmail(), full_name: 'A', password: goodPassword }
      await (await superAdmin(server)).api.post('/tenants', { name: 'T', admin })
      const filesOf = () => readdir(dataDir, { recursive: true })
      await until(async () => (await filesOf()).some((name) => name.endsWith('.eml')), 'a mail')
      expect(await openToOthers(dataDir)).toEqual([])
      for (const name of ['database', 'jwt-secret-key', 'lock', 'outbox'])
        expect(await readdir(dataDir)).toContain(name)
      await server.stop()
      // It may be anything, /tmp for instance, so an existing folder keeps its mode; a new one is private.
      prepareDataDir(join(dataDir, 'new'))
      expect((await stat(join(dataDir, 'new'))).mode & 0o777).toBe(0o700)
    } finally {
      process.umask(mask)
    }
  }, 60_000)

  test('has a key generated once, different for each installation', async () => {
    const [one, two] = [await temporary(), await temporary()]
    const key = generatedSecret(one)
    expect(Buffer.from(key, 'base64url').length).toBeGreaterThanOrEqual(32)
    expect(generatedSecret(one)).toBe(key)
    expect(generatedSecret(two)).not.toBe(key)
  })
})
