/** One executable for one platform. */
import { chmod, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { BunPlugin } from 'bun'
import { databaseAssets } from './database-assets.ts'
import { docsAssets } from './docs-assets.ts'
import type { Target } from './targets.ts'

export interface ExecutableOptions {
  root: string
  outfile: string
  target: Target
  /** Where `target.addon` is. */
  addon: string
  /** Where `target.runtime` is; null for the Bun that this runs on. */
  runtime: string | null
  /** A folder for what goes into every executable and takes time to make. */
  cache: string
}

/** Puts it in its place whole. @throws AggregateError when it does not compile */
export async function buildExecutable(options: ExecutableOptions): Promise<void> {
  const { root, outfile, target, addon, runtime, cache } = options
  const assets = await Promise.all([databaseAssets(root, cache), docsAssets(root, cache)])
  // On the same disk, for it is renamed at the end; Bun writes a source map beside it that would only puzzle.
  const folder = await mkdtemp(join(dirname(outfile), '.building-'))
  try {
    const made = join(folder, target.os === 'win32' ? 'minimart.exe' : 'minimart')
    await Bun.build({
      entrypoints: [join(root, 'src/main.ts')],
      compile: {
        outfile: made,
        // Of what lies where it is started, only .env and its kin (.env.local) are read.
        autoloadBunfig: false,
        ...(runtime === null ? {} : { target: target.bun, executablePath: runtime }),
      },
      // Parsed at build time: a third of the time to start. It takes a program without top-level await.
      bytecode: true,
      format: 'esm',
      // Renaming identifiers breaks Elysia, which reads the source of handlers.
      minify: { whitespace: true, syntax: true, identifiers: false },
      sourcemap: 'inline',
      define: { 'process.env.NODE_ENV': '"production"' },
      plugins: [...assets, addonPlugin(addon)],
    })
    await chmod(made, 0o755)
    await rename(made, outfile)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The package looks for its library at run time; in here there is one, chosen at build time. */
const addonPlugin = (library: string): BunPlugin => ({
  name: 'native argon2',
  setup: (build) => {
    build.onLoad({ filter: /[\\/]@node-rs[\\/]argon2[\\/]index\.js$/ }, () => ({
      contents: `module.exports = require('minimart-argon2.node')`,
      loader: 'js',
    }))
    build.onResolve({ filter: /^minimart-argon2\.node$/ }, () => ({ path: library }))
  },
})
