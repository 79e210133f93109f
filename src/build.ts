/** Compiles the service into self-contained executables: `bun run build --help`. */
import { mkdir, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import packageJson from '../package.json' with { type: 'json' }
import { buildExecutable } from './build/executable.ts'
import { packageFile } from './build/packages.ts'
import { fileName, hostTarget, type Target, targets } from './build/targets.ts'

const root = join(import.meta.dir, '..')
const dist = join(root, 'dist')
const cache = join(root, 'node_modules/.cache/minimart')
const names = targets.map(({ name }) => name)

const help = `bun run build            dist/minimart, for this platform
bun run build TARGET...  dist/minimart-${packageJson.version}-TARGET, and dist/SHA256SUMS
bun run build:all        the same for all targets

Targets: ${names.join(', ')}.
Packages for other platforms (Bun and the native argon2) are fetched from the package registry, in the versions and
with the checksums of bun.lock, and cached in node_modules/.cache.`

process.exitCode = await run(process.argv.slice(2))

async function run(argv: string[]): Promise<number> {
  let chosen: Target[]
  try {
    const { values, positionals } = parseArgs({
      args: argv,
      options: { all: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    })
    if (values.help) {
      console.log(help)
      return 0
    }
    chosen = chooseTargets(values.all ? names : positionals)
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${help}`)
    return 2
  }
  await mkdir(dist, { recursive: true })
  return chosen.length === 0 ? buildHost() : buildReleases(chosen)
}

function chooseTargets(asked: string[]): Target[] {
  const unknown = asked.find((name) => !names.includes(name))
  if (unknown !== undefined) throw new Error(`There is no target "${unknown}".`)
  return targets.filter(({ name }) => asked.includes(name))
}

async function buildHost(): Promise<number> {
  const target = hostTarget(join(root, 'node_modules'))
  const outfile = join(dist, target.os === 'win32' ? 'minimart.exe' : 'minimart')
  await buildExecutable({
    root,
    outfile,
    target,
    addon: await packageFile(target.addon, target, { root, cache }),
    runtime: null,
    cache,
  })
  printSize(outfile)
  return 0
}

/** Goes on past a target that fails; SHA256SUMS has those that were built. */
async function buildReleases(chosen: Target[]): Promise<number> {
  const built: string[] = []
  const failed: string[] = []
  for (const [index, target] of chosen.entries()) {
    console.error(`${index + 1}/${chosen.length} ${target.name}`)
    const outfile = join(dist, fileName(target, packageJson.version))
    // A stale executable would look like the result of this build.
    await rm(outfile, { force: true })
    try {
      const [addon, runtime] = await Promise.all(
        [target.addon, target.runtime].map((wanted) => packageFile(wanted, target, { root, cache })),
      )
      if (addon === undefined || runtime === undefined) throw new Error('a package is missing')
      await buildExecutable({ root, outfile, target, addon, runtime, cache })
      built.push(outfile)
      printSize(outfile)
    } catch (error) {
      failed.push(target.name)
      console.error(`  ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  await Bun.write(join(dist, 'SHA256SUMS'), (await Promise.all(built.map(sumLine))).join(''))
  if (failed.length > 0) console.error(`NOT BUILT: ${failed.join(', ')}`)
  return failed.length > 0 ? 1 : 0
}

/** In the format of `sha256sum -c`. */
async function sumLine(path: string): Promise<string> {
  const hasher = new Bun.CryptoHasher('sha256')
  for await (const chunk of Bun.file(path).stream()) hasher.update(chunk)
  return `${hasher.digest('hex')}  ${basename(path)}\n`
}

function printSize(path: string): void {
  console.log(`${path}  ${(Bun.file(path).size / 1_000_000).toFixed(1)} MB`)
}
