/**
 * Compiles the service into one executable, dist/minimart, with everything it needs inside: `bun run build`, or
 * `bun run build bun-linux-arm64` for another platform (its argon2 package must be installed).
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'

const root = join(import.meta.dir, '..')
const platform = process.argv[2]

await rm(join(root, 'dist'), { recursive: true, force: true })
const { outputs } = await Bun.build({
  entrypoints: [join(root, 'src/main.ts')],
  compile: {
    outfile: join(root, 'dist/minimart'),
    // Of what lies where it is started, only .env is read.
    autoloadBunfig: false,
    ...(isCompileTarget(platform) ? { target: platform } : {}),
  },
  // Renaming identifiers breaks Elysia, which reads the source of handlers.
  minify: { whitespace: true, syntax: true, identifiers: false },
  sourcemap: 'inline',
  define: { 'process.env.NODE_ENV': '"production"' },
})
// The map is inside the executable; its own file would only puzzle.
await rm(join(root, 'dist/minimart.map'), { force: true })
for (const { path, size } of outputs.filter(({ kind }) => kind !== 'sourcemap'))
  console.log(`${path}  ${Math.round(Math.max(size, Bun.file(path).size) / 1_000_000)} MB`)

function isCompileTarget(name: string | undefined): name is Bun.Build.CompileTarget {
  return name?.startsWith('bun-') === true
}
