/** Compiles the executable for one platform. */
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
  /** Path of `target.addon`. */
  addon: string
  /** Path of `target.runtime`; null for the Bun that runs the build. */
  runtime: string | null
  /** Folder of cached build artefacts. */
  cache: string
}

/** Writes `outfile` atomically. @throws AggregateError when it does not compile */
export async function buildExecutable(options: ExecutableOptions): Promise<void> {
  const { root, outfile, target, addon, runtime, cache } = options
  const assets = await Promise.all([databaseAssets(root, cache), docsAssets(root, cache)])
  // Beside `outfile`, so that it can be renamed; Bun leaves a source map next to it that nobody needs.
  const folder = await mkdtemp(join(dirname(outfile), '.building-'))
  try {
    const compiled = join(folder, target.os === 'win32' ? 'minimart.exe' : 'minimart')
    await Bun.build({
      entrypoints: [join(root, 'src/main.ts')],
      compile: {
        outfile: compiled,
        // In the working directory, it reads .env files only.
        autoloadBunfig: false,
        ...(runtime === null ? {} : { target: target.bun, executablePath: runtime }),
      },
      // Parsed at build time, for a faster start. Rules out top-level await.
      bytecode: true,
      format: 'esm',
      // Elysia reads the source of handlers, which renamed identifiers break.
      minify: { whitespace: true, syntax: true, identifiers: false },
      sourcemap: 'inline',
      define: { 'process.env.NODE_ENV': '"production"' },
      plugins: [...assets, addonPlugin(addon)],
    })
    await chmod(compiled, 0o755)
    await rename(compiled, outfile)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The package looks for its library at run time; the executable embeds the one for its platform. */
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
