/** In the executable, the assets of /docs and /redoc are compressed, as nearly every browser accepts them. */
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import type { BunPlugin } from 'bun'
import { cachedFile, fingerprint } from './cache.ts'

const compressed = [
  'redoc/bundles/redoc.standalone.js',
  'swagger-ui-dist/swagger-ui-bundle.js',
  'swagger-ui-dist/swagger-ui.css',
]

export async function docsAssets(root: string, cache: string): Promise<BunPlugin> {
  const sourceOf = (name: string): string => join(root, 'node_modules', name)
  const folder = join(cache, `docs-assets-${await fingerprint(compressed.map(sourceOf))}`)
  const paths = new Map<string, string>()
  for (const name of compressed) {
    const path = await cachedFile(join(folder, `${basename(name)}.gz`), async (file) =>
      Bun.write(file, gzipSync(await Bun.file(sourceOf(name)).bytes(), { level: 9 })),
    )
    paths.set(name, path)
  }
  return {
    name: 'docs assets',
    setup: (build) => {
      build.onResolve({ filter: /^(redoc|swagger-ui-dist)\// }, ({ path }) => {
        const found = paths.get(path)
        return found === undefined ? undefined : { path: found }
      })
    },
  }
}
