import { randomBytes } from 'node:crypto'
import { Value } from '@sinclair/typebox/value'
import { allRows } from '../archive/format.ts'
import { type Imported, importTenant } from '../archive/import.ts'
import { type Archive, openArchive } from '../archive/reader.ts'
import type { Database } from '../db/database.ts'
import { createPasswords } from '../features/auth/passwords.ts'
import { Slug } from '../http/fields.ts'
import { withDatabaseToImport } from './archive-database.ts'
import { openInput } from './archive-files.ts'
import { type Command, UsageError } from './command.ts'
import { print } from './print.ts'
import { createProgress } from './progress.ts'

export const importCommand: Command = {
  summary: 'bring in the tenant of an archive that export wrote',
  usage: 'FILE|- [--slug SLUG] [--dry-run] [--json]',
  details: `  minimart import corner-house.jsonl.gz

All of the archive comes in, or nothing of it. The tenant keeps its ids, lists their versions, numbers and events, so
that clients go on where they were; into a running PostgreSQL service too, where it is there at once. It must not be
there yet, and none of its people's addresses may belong to an account here.

--slug SLUG   give the tenant this slug, where its own is taken
--dry-run     try everything, keep nothing; a database that lacks migrations is refused, and where there is none yet
              it is tried in one that is made for it and removed
--json        tell the outcome as one JSON line
-             read the archive from standard input; compressed or not is told by its first bytes

An archive is refused when it is cut off, was changed after it was written, or is of a later format. People sign in
with their passwords where it was written with --with-credentials; else they ask for a new one ("forgot password"),
and until then no password works. Everyone signs in anew either way.

minimart help export tells the format.`,
  options: { slug: { type: 'string' }, 'dry-run': { type: 'boolean' }, json: { type: 'boolean' } },
  positionals: 1,
  async run({ values, positionals: [file] }) {
    if (file === undefined) throw new UsageError('Name the archive, or - for standard input.')
    if (values['slug'] !== undefined && !Value.Check(Slug, values['slug']))
      throw new UsageError(`--slug ${Slug['expects']}.`)
    const dryRun = values['dry-run'] === true
    const slug = values['slug']?.toString()
    const { archive, imported } = await withProgress(file, async (bytes) => {
      // A file that is none is told before a database is opened, or made.
      const opened = await openArchive(bytes)
      const options = { slug, dryRun, unusableHash: await hashOfNothing() }
      const work = (db: Database) => importTenant(db, opened, options)
      return { archive: opened, imported: await withDatabaseToImport(dryRun, work) }
    })
    await print(values['json'] ? asJson(archive, imported, dryRun) : asText(archive, imported, dryRun))
    return 0
  },
}

async function withProgress<T>(
  file: string,
  work: (bytes: AsyncIterable<Uint8Array>) => Promise<T>,
): Promise<T> {
  const { bytes, size: total, close } = openInput(file, (count) => progress.advance(count))
  const progress = createProgress(process.stderr, { label: 'Importing', total, unit: 'bytes' })
  return await work(bytes).finally(() => {
    progress.done()
    close()
  })
}

/** Of a password that is forgotten as soon as it is made. */
async function hashOfNothing(): Promise<string> {
  const passwords = await createPasswords({ concurrency: 1, maxWaiting: 1 })
  return await passwords.hash(randomBytes(32).toString('base64url'))
}

const asJson = ({ header }: Archive, { tenant, rows }: Imported, dryRun: boolean): string =>
  JSON.stringify({ tenant, credentials: header.credentials, dry_run: dryRun, rows })

function asText({ header }: Archive, { tenant, rows }: Imported, dryRun: boolean): string {
  const what = `${tenant.name} (${tenant.slug}), ${allRows(rows).toLocaleString('en')} rows`
  if (dryRun) return `${what}, can be imported: nothing stands in the way. Nothing was kept of this try.`
  const people = header.credentials
    ? 'Its people sign in with their passwords.'
    : 'Its people have no passwords here: each asks for one with "forgot password".'
  return `Imported ${what}. ${people}`
}
