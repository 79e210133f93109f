/** What the executable carries for its embedded database in place of src/db/pglite-assets.ts: small, and prepared. */
import { existsSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { BunPlugin } from 'bun'

export interface DatabaseAssets {
  postgresWasm: string
  data: string
  preparedDatabase: string
}

/** Takes seconds the first time; kept in `cache` until something changes that goes into them. */
export async function makeDatabaseAssets(root: string, cache: string): Promise<DatabaseAssets> {
  const pglite = join(root, 'node_modules/@electric-sql/pglite/dist')
  const makers = ['build/initdb.ts', 'build/database-assets.ts', 'db/prepared-database.ts', 'db/pglite.ts']
  const sources = [
    ...makers.map((path) => join(root, 'src', path)),
    ...['pglite.wasm', 'pglite.data', 'initdb.wasm'].map((name) => join(pglite, name)),
  ]
  const folder = join(cache, `database-assets-${Bun.version}-${await fingerprint(sources)}`)
  await mkdir(folder, { recursive: true })
  const make = async (name: string, maker: (path: string) => Promise<unknown>): Promise<string> => {
    const path = join(folder, name)
    if (existsSync(path)) return path
    const unfinished = `${path}.${process.pid}`
    await maker(unfinished)
    await rename(unfinished, path)
    return path
  }
  const compressed = (name: string): Promise<string> =>
    make(`${name}.zst`, async (path) =>
      Bun.write(path, await Bun.zstdCompress(await Bun.file(join(pglite, name)).bytes(), { level: 19 })),
    )
  const [postgresWasm, data, preparedDatabase] = await Promise.all([
    compressed('pglite.wasm'),
    compressed('pglite.data'),
    make('database.zst', (path) => initdb(root, path)),
  ])
  return { postgresWasm, data, preparedDatabase }
}

export function databaseAssetsPlugin(assets: DatabaseAssets): BunPlugin {
  const names = Object.keys(assets)
  const paths = new Map(Object.entries(assets).map(([name, path]) => [`minimart:${name}`, path]))
  // Names rather than paths, for it goes into the source map and so into the executable's checksum.
  const contents = [
    ...names.map((name) => `import ${name} from 'minimart:${name}' with { type: 'file' }`),
    `export const assets = { ${names.join(', ')}, initdbWasm: null }`,
  ].join('\n')
  return {
    name: 'database assets',
    setup: (build) => {
      build.onLoad({ filter: /[\\/]db[\\/]pglite-assets\.ts$/ }, () => ({ contents, loader: 'js' }))
      build.onResolve({ filter: /^minimart:/ }, ({ path }) => ({ path: paths.get(path) ?? path }))
    },
  }
}

async function fingerprint(paths: string[]): Promise<string> {
  const hasher = new Bun.CryptoHasher('sha256')
  for (const path of paths) hasher.update(await Bun.file(path).bytes())
  return hasher.digest('hex').slice(0, 16)
}

async function initdb(root: string, file: string): Promise<void> {
  const child = Bun.spawn([process.execPath, join(root, 'src/build/initdb.ts'), file], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [code, out, err] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()])
  if (code !== 0) throw new Error(`The embedded database could not be prepared:\n${out}${err}`.trim())
}
