/** The architecture (README, "How it is built"): which folder may import which, and who may use what. */
import { expect, test } from 'bun:test'
import { dirname, join, normalize } from 'node:path'
import { Glob } from 'bun'

/**
 * The rooms, bottom up: a file imports, types included, only from its own room and those before it, so rooms cannot form
 * a cycle.
 */
const rooms = [
  'errors.ts',
  'log.ts',
  'version.ts',
  'lib/*',
  'config/*',
  'data-dir/*',
  'tracing/*',
  'db/{database,errors,installation,schema,search,shares,statement,tenancy,wire-json}.ts',
  'db/migrations/*',
  'db/postgres/*',
  'db/embedded/*',
  'db/{instrumented,open}.ts',
  'store/*',
  'mail/*',
  'access/*',
  'http/*',
  'http/docs/*',
  'features/audit/*',
  'features/list-changes/*',
  'features/auth/*',
  'features/users/*',
  'features/tenants/*',
  'features/items/*',
  'features/lists/*',
  'features/invitations/*',
  'features/housekeeping/*',
  'features/web/*',
  'realtime/*',
  'operations/*',
  'backup/*',
  'archive/*',
  'client/*',
  'deps.ts',
  'app.ts',
  'open-deps.ts',
  'server.ts',
  'cli/demo/*',
  'cli/*',
  'build/*',
  'build.ts',
  'main.ts',
]
const maxFiles = (room: string): number => (room === 'cli/*' ? 30 : 20)

interface Module {
  path: string
  text: string
  room: number
  /** Imported files, relative to src, and packages; including types. */
  imports: string[]
  /** The same without type-only imports, which do not exist at run time. */
  values: string[]
}

const globs = rooms.map((room) => new Glob(room))
const modules = await readModules()
const roomOf = new Map(modules.map(({ path, room }) => [path, room]))

test('every file belongs to one room', () => {
  for (const { path } of modules)
    expect([path, rooms.filter((_, index) => globs[index]?.match(path)).length]).toEqual([path, 1])
})

test('imports point down, types included', () => {
  const upward = modules.flatMap(({ path, room, imports }) =>
    imports
      .filter((imported) => (roomOf.get(imported) ?? -1) > room)
      .map((imported) => `${path} → ${imported}`),
  )
  expect(upward).toEqual([])
})

test('no files import each other in a cycle, types included', () => {
  expect(cycles(new Map(modules.map(({ path, imports }) => [path, imports])))).toEqual([])
})

test('no rooms import each other in a cycle, types included', () => {
  const graph = new Map<string, string[]>()
  for (const { room, imports } of modules) {
    const name = rooms[room] ?? ''
    const others = imports.flatMap((imported) => rooms[roomOf.get(imported) ?? -1] ?? [])
    graph.set(name, [...(graph.get(name) ?? []), ...others.filter((other) => other !== name)])
  }
  expect(cycles(graph)).toEqual([])
})

test('no room has too many files', () => {
  const counts = rooms.map((room, index) => ({
    room,
    files: modules.filter((one) => one.room === index).length,
  }))
  expect(counts.filter(({ room, files }) => files > maxFiles(room) || files === 0)).toEqual([])
})

const importers = (matches: (imported: string) => boolean): string[] =>
  modules.filter(({ imports }) => imports.some(matches)).map(({ path }) => path)

const strangers = (package_: RegExp, allowed: RegExp): string[] =>
  importers((name) => package_.test(name)).filter((path) => !allowed.test(path))

test('only config and the commands that pass it the environment read the environment', () => {
  const readers = modules.filter(({ text }) => /process\.env|Bun\.env/.test(text)).map(({ path }) => path)
  expect(readers.filter((path) => !/^(cli\/(setup|demo)|build\/executable)\.ts$/.test(path))).toEqual([])
})

test('only the adapters import drivers', () => {
  expect(strangers(/^postgres$/, /^db\/postgres\//)).toEqual([])
  expect(strangers(/^@electric-sql\/pglite/, /^db\/(embedded\/|open\.ts$)/)).toEqual([])
  expect(strangers(/^redis$/, /^(store\/redis|realtime\/broker-redis)/)).toEqual([])
  expect(strangers(/^nodemailer/, /^mail\/(mailer|transport)\.ts$/)).toEqual([])
})

test('only one file imports OpenTelemetry, and it is loaded only when traces are enabled', () => {
  expect(importers((name) => name.startsWith('@opentelemetry/'))).toEqual(['tracing/tracing-otel.ts'])
  expect(importers((name) => name === 'tracing/tracing-otel.ts')).toEqual(['tracing/open.ts'])
  const loader = modules.find(({ path }) => path === 'tracing/open.ts')
  expect(loader?.text.match(/.*tracing-otel\.ts['"].*/g)).toEqual([
    "  const { createTracing } = await import('./tracing-otel.ts')",
  ])
})

test('Elysia appears only in the app, routes, models and http', () => {
  const users =
    /^(app\.ts|http\/|(realtime|operations|features\/[\w-]+)\/([\w-]+-)?(routes|model|health)\.ts)/
  expect(strangers(/^(elysia$|@elysiajs\/)/, users)).toEqual([])
})

test('the client imports only types from outside', () => {
  const inClient = modules.filter(({ path }) => path.startsWith('client/'))
  expect(inClient.flatMap(({ values }) => values.filter((name) => !name.startsWith('client/')))).toEqual([])
  const packages = inClient.flatMap(({ imports }) => imports.filter((name) => !roomOf.has(name)))
  // Derives the client's types from the server's schemas.
  expect([...new Set(packages)]).toEqual(['@sinclair/typebox'])
})

test('only list-changes/change.ts changes lists', () => {
  const writes = /\b(insert into|update|delete from)\s+(list_members|items|list_events)\b/i
  const known = [
    'features/list-changes/change.ts',
    // Clearing away expired events and what is left of deleted items does not change a list.
    'features/housekeeping/expired-events.ts',
    'features/housekeeping/expired-rows.ts',
  ]
  const others = modules.filter(
    ({ path, text }) => writes.test(text) && !known.includes(path) && !text.includes('changeList('),
  )
  // A new list starts with its owner, so there is nothing to change yet.
  expect(others.map(({ path }) => path)).toEqual([])
  // An import inserts a tenant's lists as they were, invisible until the commit. Housekeeping's tables are named by a
  // type.
  const anywhere = /\b(insert into|update|delete from)\s+\$\{/i
  const writersOfAny = modules.filter(({ text }) => anywhere.test(text)).map(({ path }) => path)
  expect(writersOfAny).toEqual(['archive/import.ts', 'features/housekeeping/expired-rows.ts'])
})

/** The nodes left after repeatedly removing those that import, or are imported by, none of the rest. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  let left = [...graph.keys()]
  for (;;) {
    const imported = new Set(left.flatMap((node) => graph.get(node) ?? []))
    const next = left.filter(
      (node) => imported.has(node) && graph.get(node)?.some((other) => left.includes(other)),
    )
    if (next.length === left.length) return left
    left = next
  }
}

async function readModules(): Promise<Module[]> {
  const root = join(import.meta.dir, '..', 'src')
  const paths = [...new Glob('**/*.ts').scanSync(root)].filter((path) => !path.endsWith('.d.ts')).sort()
  return Promise.all(
    paths.map(async (path) => {
      const text = await Bun.file(join(root, path)).text()
      const resolved = (pattern: RegExp): string[] =>
        [...text.matchAll(pattern)].map(([, from = '', lazily]) => {
          const name = lazily ?? from
          return name.startsWith('.') ? normalize(join(dirname(path), name)) : name
        })
      return {
        path,
        text,
        room: globs.findIndex((glob) => glob.match(path)),
        imports: resolved(/^(?:import|export) [^'"]*?from ['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)/gm),
        values: resolved(
          /^(?:import|export) (?!type )[^'"]*?from ['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)/gm,
        ),
      }
    }),
  )
}
