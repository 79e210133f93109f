import { type Exported, type ExportOptions, exportTenant, findTenant } from '../archive/export.ts'
import { allRows } from '../archive/format.ts'
import { OperatorError } from '../errors.ts'
import { type Source, withDatabaseToExport } from './archive-database.ts'
import { gzipWriter, plainWriter } from './archive-files.ts'
import { type Command, UsageError } from './command.ts'
import { withOutputFile } from './output-file.ts'
import { print } from './print.ts'
import { createProgress, type Progress } from './progress.ts'

export const exportCommand: Command = {
  summary: 'write one tenant to an archive that import reads, here or elsewhere',
  usage: '--tenant SLUG|ID [--with-credentials] [--json] [FILE|-]',
  details: `  minimart export --tenant corner-house corner-house.jsonl.gz
  minimart export --tenant corner-house - | ssh elsewhere minimart import -

The archive contains the whole tenant as of one moment: users, lists, members, items (deleted ones too), events,
spent invitations and revoked tokens, the audit trail. People can keep working during the export. Nothing is lost
between the embedded database and PostgreSQL, so this is also the way to grow: export from the small installation,
import into the large one.

--tenant            the tenant's slug or id
--with-credentials  include password hashes. Without them people have to reset their passwords ("forgot password")
                    after the import. No other secrets are ever in an archive: no sessions, codes or keys
--json              print the result as one line of JSON, on standard error when the archive goes to standard output
FILE                gzipped if its name ends in .gz; readable for its owner only. - is standard output

A server that runs on the embedded database makes a copy to export from (which takes disk space in DATA_DIR) and keeps
serving. Stop it before a tenant moves: changes after the export do not move along. An export is recorded in the audit
trails of the platform and of the tenant, and is not completed if that fails. It does not migrate: a database with
pending migrations is refused.

The format, JSON Lines in UTF-8:
  first line   {"minimart":"archive","version":2,"program":…,"tenant":{"id","slug","name"},"credentials":false}
  rows         {"table":"items","id":…,"list_id":…, …}: every column by name, times in UTC with milliseconds,
               quantities as text. Tables in the order tenants, users, shopping_lists, list_members, items,
               list_events, keyed_calls, revocations, spent_invitations, refusal_counts, audit_log, each sorted by
               primary key
  last line    {"minimart":"end","rows":{"items":…, …},"sha256":…,"exported_at":…}
               the checksum covers all lines before it: head -n -1 FILE | sha256sum`,
  options: {
    tenant: { type: 'string' },
    'with-credentials': { type: 'boolean' },
    json: { type: 'boolean' },
  },
  positionals: 1,
  async run({ values, positionals: [named] }) {
    const wanted = values['tenant']
    if (typeof wanted !== 'string' || wanted === '')
      throw new UsageError('Name the tenant: --tenant SLUG or --tenant ID.')
    if (named === undefined && process.stdout.isTTY)
      throw new UsageError('Name a file for the archive, or - to print it here.')
    const file = named ?? '-'
    const credentials = values['with-credentials'] === true
    const outcome = await withDatabaseToExport(async (source) => {
      const tenantId = await findTenant(source.db, wanted)
      if (tenantId === null)
        throw new OperatorError(`There is no tenant "${wanted}". Give its slug or its id.`)
      return { file, credentials, ...(await exportInto(file, source, { tenantId, credentials })) }
    })
    const result = values['json'] ? JSON.stringify(outcome) : asText(outcome)
    // With -, standard output carries the archive.
    if (file === '-') console.error(result)
    else await print(result)
    return 0
  },
}

async function exportInto(
  file: string,
  { db, record }: Source,
  options: Pick<ExportOptions, 'tenantId' | 'credentials'>,
): Promise<Exported> {
  let progress: Progress | undefined
  const [exported] = await withOutputFile(file, { force: false, remedy: 'remove it' }, async (write) => {
    const archive = file.endsWith('.gz') ? gzipWriter(write) : plainWriter(write)
    const written = await exportTenant(db, {
      ...options,
      record,
      write: archive.write,
      onTotal: (total) => {
        progress = createProgress(process.stderr, { label: 'Exporting', total, unit: 'rows' })
      },
      onRows: (rows) => progress?.advance(rows),
    })
    await archive.end()
    return written
  }).finally(() => progress?.done())
  return exported
}

function asText({ tenant, credentials, rows }: Exported & Pick<ExportOptions, 'credentials'>): string {
  const secrets = credentials
    ? 'with password hashes: keep the archive as safe as the database'
    : 'without password hashes'
  return `Exported ${tenant.name} (${tenant.slug}), ${allRows(rows).toLocaleString('en')} rows, ${secrets}.`
}
