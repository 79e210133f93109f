/**
 * What a list and a tenant may keep. A list's text is counted exactly, on its row, by every change of its items; what a
 * tenant keeps is counted in the background (housekeeping/kept-bytes.ts), events included. Only what adds text is
 * refused: items can be bought, shortened and deleted on a list that is full, and in a tenant that is.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Actor } from '../../access/actor.ts'

export const maxItemsPerList = 5000
/** Of their text in UTF-8. */
const maxTextBytes = 4 * 1024 ** 2

/** Null for no limit. */
export interface Quotas {
  /** Deleted ones too. */
  lists: number | null
  bytes: number | null
}

/** The bytes of an item's text. Its position is not text, so that moving it takes no room. */
export const textBytes = (i: string): SQL =>
  sql.raw(`(octet_length(${i}.name) + coalesce(octet_length(${i}.unit), 0) + coalesce(octet_length(${i}.note), 0)
    + coalesce(octet_length(${i}.category), 0))`)

/**
 * The bytes of text on the list `l`. They are on its row, unless a release that does not count them has changed it
 * since, or an import; then they are summed up.
 */
export const listTextBytes = (l: string): SQL =>
  sql`case when ${sql.raw(l)}.text_seq = ${sql.raw(l)}.seq then ${sql.raw(l)}.text_bytes else
    (select coalesce(sum(${textBytes('i')}), 0) from items i
      where i.tenant_id = ${sql.raw(l)}.tenant_id and i.list_id = ${sql.raw(l)}.id and i.deleted_at is null) end`

/** Whether the list `t` has no room for so many more bytes of text. */
export const isListFull = (growth: SQL): SQL =>
  sql`((${growth}) > 0 and ${listTextBytes('t')} + (${growth}) > ${maxTextBytes}::bigint)`

/** Whether the tenant keeps too much to grow by so many bytes. */
export const isTenantFull = ({ tenantId }: Actor, { bytes }: Quotas, growth: SQL): SQL =>
  sql`((${growth}) > 0 and exists (select from tenants where id = ${tenantId} and kept_bytes > ${bytes}::bigint))`
