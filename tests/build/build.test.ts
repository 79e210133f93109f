/** Executables contain their own platform's native argon2 and no other, and builds are reproducible. */
import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { buildExecutable } from '../../src/build/executable.ts'
import { packageFile } from '../../src/build/packages.ts'
import { fileName, hostTarget, targets } from '../../src/build/targets.ts'
import { executableBuilt } from '../support/program.ts'

const root = resolve(import.meta.dir, '../..')
const dist = join(root, 'dist')
const places = { root, cache: join(root, 'node_modules/.cache/minimart') }
const host = hostTarget(join(root, 'node_modules'))
const mostBytes = 140_000_000

/** The host's, and those of `bun run build:all` if it was run. */
const executables = [
  { target: host, path: join(dist, 'minimart') },
  ...targets.map((target) => ({ target, path: join(dist, fileName(target, packageJson.version)) })),
].filter(({ path }) => existsSync(path))

describe.skipIf(!executableBuilt)('executables', () => {
  const folders: string[] = []
  afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))))

  test.each(executables)('$path carries its own argon2 and no other', async ({ target, path }) => {
    const bytes = await readFile(path)
    const library = await readFile(await packageFile(target.addon, target, places))
    expect(bytes.includes(library)).toBe(true)
    const carried = bytes.toString('latin1').matchAll(/argon2\.[a-z\d]+(?:-[a-z\d]+)+?-[a-z\d]{8}\.node/g)
    const names = new Set([...carried].map(([name]) => name.replace(/-[a-z\d]{8}\.node$/, '.node')))
    expect([...names]).toEqual([target.addon.file])
  })

  test.each(executables)('$path is no larger than promised', async ({ path }) => {
    expect((await stat(path)).size).toBeLessThanOrEqual(mostBytes)
  })

  test('the same sources give the same bytes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'minimart-build-'))
    folders.push(folder)
    const outfile = join(folder, 'another')
    const addon = await packageFile(host.addon, host, places)
    await buildExecutable({ ...places, outfile, target: host, addon, runtime: null })
    expect(Bun.hash(await readFile(outfile))).toBe(Bun.hash(await readFile(join(dist, 'minimart'))))
    expect(readdirSync(folder)).toEqual(['another'])
  })
})

test('an unknown target is a usage error, and help lists the known ones', async () => {
  const build = async (...args: string[]) => {
    const child = Bun.spawn([process.execPath, join(root, 'src/build.ts'), ...args], { stderr: 'pipe' })
    const [code, stdout, stderr] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()])
    return { code, stdout, stderr }
  }
  const [wrong, help] = await Promise.all([build('linux-x65'), build('--help')])
  expect([wrong.code, wrong.stdout]).toEqual([2, ''])
  expect(wrong.stderr).toStartWith('There is no target "linux-x65".\n')
  expect(help.code).toBe(0)
  for (const { name } of targets) expect(help.stdout).toContain(name)
})
