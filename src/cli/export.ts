import { type Exported, type ExportOptions, exportTenant, findTenant } from '../archive/export.ts'
import { allRows } from '../archive/format.ts'
import { OperatorError } from '../errors.ts'
import { type Source, withDatabaseToExport } from './archive-database.ts'
import { compressedInto, plainInto } from './archive-files.ts'
import { type Command, UsageError } from './command.ts'
import { print } from './print.ts'
import { createProgress, type Progress } from './progress.ts'
import { withWholeFile } from './whole-file.ts'

export const exportCommand: Command = {
  summary: 'write one tenant into an archive that import reads, here or elsewhere',
  usage: '--tenant SLUG|ID [--with-credentials] [--json] [FILE|-]',
  details: `  minimart export --tenant corner-house corner-house.jsonl.gz
  minimart export --tenant corner-house - | ssh elsewhere minimart import -

The archive holds everything of the tenant: users, lists, members, items (deleted ones too), events, spent invitations
and revoked tokens, the audit trail. It is one moment of the database; people go on working meanwhile. Between the
embedded database and PostgreSQL it loses nothing, so this is also the way to grow: export on the small one, import
into the large one.

--tenant            the tenant's slug or id
--with-credentials  take password hashes along. Without them people must ask for a new password ("forgot password")
                    after the import. Nothing else that is secret is ever in an archive: no sessions, codes or keys
--json              tell the outcome as one JSON line, on standard error where the archive has standard output
FILE                compressed when its name ends in .gz; only its owner may read it. - is standard output

The embedded database's running server is asked for a copy to export from (the disk of DATA_DIR needs room for it) and
goes on serving. Before a tenant moves, stop the server: what changes after the export does not move along. An export
stands in the audit trail of the platform and of the tenant; one that cannot be recorded there is not completed. It
migrates nothing: a database that lacks migrations is refused.

The format, JSON Lines in UTF-8:
  first line   {"minimart":"archive","version":1,"program":…,"tenant":{"id","slug","name"},"credentials":false}
  rows         {"table":"items","id":…,"list_id":…, …}: every column by name, times in UTC with milliseconds,
               quantities as text. Tables in the order tenants, users, shopping_lists, list_members, items,
               list_events, revocations, audit_log, each table's rows in the order of their key
  last line    {"minimart":"end","rows":{"items":…, …},"sha256":…,"exported_at":…}
               the checksum is that of all lines before: head -n -1 FILE | sha256sum`,
  options: {
    tenant: { type: 'string' },
    'with-credentials': { type: 'boolean' },
    json: { type: 'boolean' },
  },
  positionals: 1,
  async run({ values, positionals: [named] }) {
    const wanted = values['tenant']
    if (typeof wanted !== 'string' || wanted === '')
      throw new UsageError('Say which tenant: --tenant SLUG or --tenant ID.')
    if (named === undefined && process.stdout.isTTY)
      throw new UsageError('Name a file for the archive, or - to have it printed here.')
    const file = named ?? '-'
    const credentials = values['with-credentials'] === true
    const outcome = await withDatabaseToExport(async (source) => {
      const tenantId = await findTenant(source.db, wanted)
      if (tenantId === null)
        throw new OperatorError(`There is no tenant "${wanted}". Give its slug or its id.`)
      return { file, credentials, ...(await exportInto(file, source, { tenantId, credentials })) }
    })
    const told = values['json'] ? JSON.stringify(outcome) : asText(outcome)
    // Standard output is the archive's own where it goes there.
    if (file === '-') console.error(told)
    else await print(told)
    return 0
  },
}

async function exportInto(
  file: string,
  { db, record }: Source,
  what: Pick<ExportOptions, 'tenantId' | 'credentials'>,
): Promise<Exported> {
  let progress: Progress | undefined
  const [exported] = await withWholeFile(file, { force: false, instead: 'remove it' }, async (write) => {
    const archive = file.endsWith('.gz') ? compressedInto(write) : plainInto(write)
    const written = await exportTenant(db, {
      ...what,
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
