/** Packages for other platforms, in the versions and with the checksums of bun.lock. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Target } from './targets.ts'

interface Locked {
  version: string
  integrity: string
}

/**
 * Returns the path of a package's file: installed already, else in `cache`, fetched with `bun install` from the
 * configured registry.
 * @throws Error when it cannot be fetched or its checksum is not the one in bun.lock
 */
export async function packageFile(
  { name, file }: { name: string; file: string },
  { os, cpu }: Target,
  { root, cache }: { root: string; cache: string },
): Promise<string> {
  const wanted = await locked(join(root, 'bun.lock'), name)
  const installed = join(root, 'node_modules', name)
  // Bun's own package may lack its executable, which its install script moves elsewhere.
  if ((await installedVersion(installed)) === wanted.version && existsSync(join(installed, file)))
    return join(installed, file)
  const cached = join(
    cache,
    `${name.replace('/', '+')}@${wanted.version}-${Bun.hash(wanted.integrity).toString(36)}`,
  )
  const found = join(cached, 'node_modules', name, file)
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
      throw new Error(`${name}@${wanted.version} does not match the checksum in bun.lock: ${integrity}`)
    if (!existsSync(join(folder, 'node_modules', name, file))) throw new Error(`${name} has no ${file}`)
    // Another build may have fetched it meanwhile.
    if (!existsSync(found)) await rename(folder, cached)
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
  // [name@version, registry, metadata, checksum]
  const [release, , , integrity]: unknown[] = Array.isArray(entry) ? entry : []
  if (typeof release !== 'string' || typeof integrity !== 'string')
    throw new Error(`bun.lock has no ${name}: run bun install`)
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
  if (code !== 0) throw new Error(`${name} could not be installed:\n${out}${err}`.trim())
}
