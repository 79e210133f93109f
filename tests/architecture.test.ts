/** The walls of the house (README, "How it is built"): which folder may know which, and who may touch what. */
import { expect, test } from 'bun:test'
import { dirname, join, normalize } from 'node:path'
import { Glob } from 'bun'

interface Module {
  path: string
  text: string
  /** Files of src, relative to it, and packages by their name. */
  imports: string[]
}

const modules = await readModules()

const importers = (matches: (imported: string) => boolean): string[] =>
  modules.filter(({ imports }) => imports.some(matches)).map(({ path }) => path)

const outside = (paths: string[], allowed: RegExp): string[] => paths.filter((path) => !allowed.test(path))

test('only config and the commands that hand the environment to it read the environment', () => {
  const readers = modules.filter(({ text }) => /process\.env|Bun\.env/.test(text)).map(({ path }) => path)
  expect(outside(readers, /^(cli\/(setup|demo)|build\/executable)\.ts$/)).toEqual([])
})

test('only the adapters import drivers', () => {
  expect(
    outside(
      importers((name) => name === 'postgres'),
      /^db\/(lane|postgres-login)[\w-]*\.ts$/,
    ),
  ).toEqual([])
  expect(
    outside(
      importers((name) => name.startsWith('@electric-sql/pglite')),
      /^db\//,
    ),
  ).toEqual([])
  expect(
    outside(
      importers((name) => name === 'redis'),
      /^(store\/redis(-cluster|-scripts)?|realtime\/broker-redis(-line)?)\.ts$/,
    ),
  ).toEqual([])
  expect(
    outside(
      importers((name) => name.startsWith('nodemailer')),
      /^mail\/(mailer|carrier)\.ts$/,
    ),
  ).toEqual([])
})

test('OpenTelemetry is known to one file, which nobody loads but when traces are wanted', () => {
  expect(importers((name) => name.startsWith('@opentelemetry/'))).toEqual(['observability/tracing-otel.ts'])
  const loaders = modules.filter(({ text }) => /tracing-otel\.ts['"]/.test(text))
  expect(loaders.map(({ path }) => path)).toEqual(['observability/tracing.ts'])
  for (const { text } of loaders)
    expect(text.match(/.*tracing-otel\.ts['"].*/g)).toEqual([
      "  const { createTracing } = await import('./tracing-otel.ts')",
    ])
})

test('Elysia appears only in the app, routes, models and http', () => {
  const users = importers((name) => name === 'elysia' || name.startsWith('@elysiajs/'))
  expect(
    outside(
      users,
      /^(app\.ts|http\/|realtime\/routes\.ts|features\/[\w-]+\/([\w-]+-)?routes\.ts|features\/[\w-]+\/model\.ts)/,
    ),
  ).toEqual([])
})

/** From the outside in. A folder may import from itself and from those after it. */
const layers: [string, RegExp][] = [
  ['program', /^((main|build)\.ts$|build\/)/],
  ['commands', /^cli\//],
  ['server', /^(server|open-deps)\.ts$/],
  ['app', /^app\.ts$/],
  ['client', /^client\//],
  [
    'routes',
    /^(http\/|realtime\/routes\.ts$|features\/[\w-]+\/([\w-]+-)?(routes|model)\.ts$|features\/pages\/)/,
  ],
  ['services', /^(features\/|deps\.ts$)/],
  ['adapters', /^(db|store|mail|realtime|backup|control)\//],
  ['ground', /^(lib\/|observability\/|errors\.ts|log\.ts|config\.ts|version\.ts|data-dir\.ts)/],
]

const layerOf = (path: string): number => layers.findIndex(([, pattern]) => pattern.test(path))

/** Types may point outward: a service takes a body of the shape its model states. */
test('imports point one way', () => {
  const wrong = modules.flatMap(({ path, imports }) =>
    imports
      .filter((imported) => layerOf(imported) !== -1 && layerOf(imported) < layerOf(path))
      .map((imported) => `${path} imports ${imported}`),
  )
  expect(wrong).toEqual([])
})

test('the client needs nothing of the service and no package', () => {
  const strangers = modules
    .filter(({ path }) => path.startsWith('client/'))
    .flatMap(({ imports }) => imports.filter((imported) => !imported.startsWith('client/')))
  expect(strangers).toEqual([])
})

test('every file has a place', () => {
  expect(modules.map(({ path }) => path).filter((path) => layerOf(path) === -1)).toEqual([])
})

test('no list is changed outside lists/change.ts', () => {
  const writes = /\b(insert into|update|delete from)\s+(list_members|items|list_events)\b/i
  const writers = modules.filter(({ text }) => writes.test(text)).map(({ path, text }) => ({ path, text }))
  const strangers = writers.filter(
    ({ path, text }) =>
      !['features/lists/change.ts', 'features/housekeeping/expired-events.ts'].includes(path) &&
      !text.includes('changeList('),
  )
  // A new list begins with its owner; there is no list yet that could be changed. Events that have expired change
  // nothing on a list when they go.
  expect(strangers.map(({ path }) => path)).toEqual([])
  // A tenant that is imported brings its lists as they were, to where nobody sees them before the commit.
  const anywhere = /\b(insert into|update|delete from)\s+\$\{/i
  const writersOfAny = modules.filter(({ text }) => anywhere.test(text)).map(({ path }) => path)
  expect(writersOfAny).toEqual(['features/archive/import.ts'])
})

test('files stay small', async () => {
  const long = modules.filter(({ text }) => text.split('\n').length > 250).map(({ path }) => path)
  expect(long).toEqual([])
})

async function readModules(): Promise<Module[]> {
  const root = join(import.meta.dir, '..', 'src')
  const paths = [...new Glob('**/*.ts').scanSync(root)].filter((path) => !path.endsWith('.d.ts')).sort()
  return Promise.all(
    paths.map(async (path) => {
      const text = await Bun.file(join(root, path)).text()
      const names = [
        ...text.matchAll(
          /^(?:import|export) (?!type )[^'"]*?from ['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)/gm,
        ),
      ]
      const imports = names.map(([, from = '', lazily]) => lazily ?? from)
      return {
        path,
        text,
        imports: imports.map((name) => (name.startsWith('.') ? normalize(join(dirname(path), name)) : name)),
      }
    }),
  )
}
