import { randomBytes } from 'node:crypto'
import { Value } from '@sinclair/typebox/value'
import { allRows } from '../archive/format.ts'
import { type Imported, importTenant, type VerifiedAddresses } from '../archive/import.ts'
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
  summary: 'import the tenant of an archive that export wrote',
  usage: 'FILE|- [--slug SLUG] [--unverified] [--dry-run] [--json]',
  details: `  minimart import corner-house.jsonl.gz

Imports the whole archive or nothing. The tenant keeps its ids, and its lists their versions, sequence numbers and
events, so clients continue where they were. PostgreSQL may be serving meanwhile: the tenant appears immediately.
The tenant must not exist yet, and no account may have one of its users' e-mail addresses.

--slug SLUG   give the tenant this slug, if its own is taken
--unverified  take no address as verified: each has to be proved here, with a mailed code. For an archive from people
              you do not trust, who could have marked anybody's address
--dry-run     check everything and keep nothing. A database with pending migrations is refused; if there is no
              database yet, a temporary one is used
--json        print the result as one line of JSON
-             read the archive from standard input; gzip is recognised by itself

An archive that is cut off, was changed after it was written, or has a newer format is refused, and so is one that
revokes anybody's tokens but its own people's. How many verified addresses it brings, and of which domains, is printed.
If it was written with
--with-credentials, people keep their passwords; otherwise no password works until its owner has reset it ("forgot
password"). Everyone has to sign in again either way.

The format is described by minimart help export.`,
  options: {
    slug: { type: 'string' },
    unverified: { type: 'boolean' },
    'dry-run': { type: 'boolean' },
    json: { type: 'boolean' },
  },
  positionals: 1,
  async run({ values, positionals: [file] }) {
    if (file === undefined) throw new UsageError('Name the archive, or - for standard input.')
    if (values['slug'] !== undefined && !Value.Check(Slug, values['slug']))
      throw new UsageError(`--slug ${Slug['expects']}.`)
    const dryRun = values['dry-run'] === true
    const slug = values['slug']?.toString()
    const { archive, imported } = await withProgress(file, async (bytes) => {
      // Before a database is opened or created: the file may be no archive at all.
      const opened = await openArchive(bytes)
      const unverified = values['unverified'] === true
      const options = { slug, unverified, dryRun, unusableHash: await unusableHash() }
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

/** The hash of a random password that nobody knows. */
async function unusableHash(): Promise<string> {
  const passwords = await createPasswords({ concurrency: 1, maxWaiting: 1 })
  return await passwords.hash(randomBytes(32).toString('base64url'))
}

const asJson = ({ header }: Archive, { tenant, rows, verified }: Imported, dryRun: boolean): string =>
  JSON.stringify({ tenant, credentials: header.credentials, dry_run: dryRun, rows, verified })

function asText({ header }: Archive, { tenant, rows, verified }: Imported, dryRun: boolean): string {
  const what = `${tenant.name} (${tenant.slug}), ${allRows(rows).toLocaleString('en')} rows`
  const addresses = verifiedAsText(verified)
  if (dryRun) return `${what}, can be imported. ${addresses} Nothing was kept of this dry run.`
  const people = header.credentials
    ? 'Its users sign in with their passwords.'
    : 'Its users have no passwords here: each has to reset theirs with "forgot password".'
  return `Imported ${what}. ${addresses} ${people}`
}

function verifiedAsText({ addresses, domains }: VerifiedAddresses): string {
  if (addresses === 0) return 'No verified addresses come along.'
  const shown = domains.map(({ domain, addresses: count }) => `${count} at ${domain}`)
  const others = domains.reduce((left, { addresses: count }) => left - count, addresses)
  const where = [...shown, ...(others > 0 ? [`${others} elsewhere`] : [])].join(', ')
  return `Verified addresses that come along: ${addresses} (${where}).`
}
