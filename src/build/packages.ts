/** Packages for other platforms than this one, of the versions and with the checksums of bun.lock. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Target } from './targets.ts'

interface Locked {
  version: string
  integrity: string
}

/**
 * Answers where the file of that package is: installed already, else in `cache`, fetched with `bun install` from the
 * registry that this machine is set up for.
 * @throws Error when it cannot be had or is not what bun.lock says
 */
export async function packageFile(
  { name, file }: { name: string; file: string },
  { os, cpu }: Target,
  { root, cache }: { root: string; cache: string },
): Promise<string> {
  const wanted = await locked(join(root, 'bun.lock'), name)
  const installed = join(root, 'node_modules', name)
  // Bun's own package may be there without its program, which installing moves elsewhere.
  if ((await installedVersion(installed)) === wanted.version && existsSync(join(installed, file)))
    return join(installed, file)
  const place = join(
    cache,
    `${name.replace('/', '+')}@${wanted.version}-${Bun.hash(wanted.integrity).toString(36)}`,
  )
  const found = join(place, 'node_modules', name, file)
  if (existsSync(found)) return found
  await mkdir(cache, { recursive: true })
  const folder = await mkdtemp(join(cache, 'fetching-'))
  try {
    await Bun.write(
      join(folder, 'package.json'),
      JSON.stringify({ dependencies: { [name]: wanted.version } }),
    )
    await install(name, folder, [`--os=${os}`, `--cpu=${cpu}`])
    const { integrity } = await locked(join(folder, 'bun.lock'), name)
    if (integrity !== wanted.integrity)
      throw new Error(`${name}@${wanted.version} is not the package that bun.lock names: ${integrity}`)
    if (!existsSync(join(folder, 'node_modules', name, file))) throw new Error(`${name} has no ${file}`)
    // Another build may have put it there meanwhile.
    if (!existsSync(found)) await rename(folder, place)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return found
}

async function installedVersion(folder: string): Promise<unknown> {
  const file = Bun.file(join(folder, 'package.json'))
  return (await file.exists()) ? (await file.json()).version : null
}

async function locked(lockFile: string, name: string): Promise<Locked> {
  const lock: unknown = Bun.JSONC.parse(await readFile(lockFile, 'utf8'))
  const entry: unknown = isRecord(lock) && isRecord(lock['packages']) ? lock['packages'][name] : undefined
  // [name@version, registry, what it needs, checksum]
  const [release, , , integrity]: unknown[] = Array.isArray(entry) ? entry : []
  if (typeof release !== 'string' || typeof integrity !== 'string')
    throw new Error(`bun.lock does not name ${name}: run bun install`)
  return { version: release.slice(name.length + 1), integrity }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

async function install(name: string, folder: string, platform: string[]): Promise<void> {
  const child = Bun.spawn(
    [process.execPath, 'install', '--ignore-scripts', '--linker=hoisted', ...platform],
    { cwd: folder, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  )
  const [code, out, err] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()])
  if (code !== 0) throw new Error(`${name} cannot be had:\n${out}${err}`.trim())
}
