/** In the executable, replaces src/db/embedded/pglite-assets.ts by compressed assets and a prepared database. */
import { join } from 'node:path'
import type { BunPlugin } from 'bun'
import { cachedFile, fingerprint } from './cache.ts'

/** Takes seconds the first time; cached in `cache`. */
export async function databaseAssets(root: string, cache: string): Promise<BunPlugin> {
  const pglite = join(root, 'node_modules/@electric-sql/pglite/dist')
  const makers = [
    'build/initdb.ts',
    'build/database-assets.ts',
    'db/embedded/prepared-database.ts',
    'db/embedded/pglite.ts',
  ]
  const sources = [
    ...makers.map((path) => join(root, 'src', path)),
    ...['pglite.wasm', 'pglite.data', 'initdb.wasm'].map((name) => join(pglite, name)),
  ]
  const folder = join(cache, `database-assets-${await fingerprint(sources)}`)
  const compressed = (name: string): Promise<string> =>
    cachedFile(join(folder, `${name}.zst`), async (path) =>
      Bun.write(path, await Bun.zstdCompress(await Bun.file(join(pglite, name)).bytes(), { level: 19 })),
    )
  const [postgresWasm, data, preparedDatabase] = await Promise.all([
    compressed('pglite.wasm'),
    compressed('pglite.data'),
    cachedFile(join(folder, 'database.zst'), (path) => initdb(root, path)),
  ])
  return plugin({ postgresWasm, data, preparedDatabase })
}

function plugin(assets: Record<string, string>): BunPlugin {
  const names = Object.keys(assets)
  const paths = new Map(Object.entries(assets).map(([name, path]) => [`minimart:${name}`, path]))
  // Names, not paths: they end up in the source map and so in the executable's checksum.
  const contents = [
    ...names.map((name) => `import ${name} from 'minimart:${name}' with { type: 'file' }`),
    `export const assets = { ${names.join(', ')}, initdbWasm: null }`,
  ].join('\n')
  return {
    name: 'database assets',
    setup: (build) => {
      build.onLoad({ filter: /[\\/]embedded[\\/]pglite-assets\.ts$/ }, () => ({ contents, loader: 'js' }))
      build.onResolve({ filter: /^minimart:/ }, ({ path }) => ({ path: paths.get(path) ?? path }))
    },
  }
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
