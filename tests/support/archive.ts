/** Exports and imports of tenants in memory, and tampered archives. */
import { createHash } from 'node:crypto'
import { type ExportOptions, exportTenant, findTenant, recordExport } from '../../src/archive/export.ts'
import { tableNames } from '../../src/archive/format.ts'
import { type Imported, type ImportOptions, importTenant } from '../../src/archive/import.ts'
import { openArchive } from '../../src/archive/reader.ts'
import type { Database } from '../../src/db/database.ts'

/** A row, the header or the trailer. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into rows of every table and change them as they like.
export type Entry = Record<string, any>

/** The hash that `minimart import` writes for accounts without credentials: no password matches it. */
export const unusableHash = `$argon2id$v=19$m=19456,t=2,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}`

export async function exportText(
  db: Database,
  idOrSlug: string,
  options: Partial<ExportOptions> = {},
): Promise<string> {
  const tenantId = await findTenant(db, idOrSlug)
  if (tenantId === null) throw new Error(`no tenant ${idOrSlug}`)
  let text = ''
  const write = async (piece: string) => {
    text += piece
  }
  const record: ExportOptions['record'] = (entry) => recordExport(db, entry)
  await exportTenant(db, { tenantId, credentials: false, write, record, ...options })
  return text
}

export async function importText(
  db: Database,
  text: string | Uint8Array,
  options: Partial<ImportOptions> = {},
): Promise<Imported> {
  const archive = await openArchive(bytesOf(text))
  return await importTenant(db, archive, { unverified: false, dryRun: false, unusableHash, ...options })
}

/** In pieces that split lines and characters anywhere. */
async function* bytesOf(text: string | Uint8Array): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text)
  for (let from = 0; from < bytes.length; from += 4097) yield bytes.subarray(from, from + 4097)
}

export const entriesOf = (text: string): Entry[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

export const rowsOf = (entries: Entry[], table: string): Entry[] =>
  entries.filter((entry) => entry['table'] === table)

/** An archive of these entries, with a trailer that matches them as if an export had written it. */
export const sealed = (entries: Entry[]): string =>
  sealedText(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''))

/** Like `sealed`, for lines kept as they are. */
export function sealedText(text: string): string {
  const lines = text.split(/(?<=\n)/).filter((line) => !line.startsWith('{"minimart":"end"'))
  const counted = (table: string): number =>
    lines.filter((line) => line.startsWith(`{"table":"${table}"`)).length
  const rows = Object.fromEntries(tableNames.map((table) => [table, counted(table)]))
  const sha256 = createHash('sha256').update(lines.join('')).digest('hex')
  const trailer = { minimart: 'end', rows, sha256, exported_at: new Date().toISOString() }
  return `${lines.join('')}${JSON.stringify(trailer)}\n`
}

/** A tenant with nothing in it. */
export function emptyArchive({ id, slug }: { id: string; slug: string }): string {
  const at = '2026-11-22T07:00:00.000Z'
  const tenant = { id, slug, name: 'Moved' }
  return sealed([
    { minimart: 'archive', version: 2, program: '0.1.0', tenant, credentials: false },
    { table: 'tenants', ...tenant, is_active: true, epoch: 0, created_at: at, updated_at: at },
  ])
}

/** An archive without its time of export. */
export const content = (text: string): string => text.replace(/,"exported_at":"[^"]+"\}\n$/, '}\n')
