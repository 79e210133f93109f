/**
 * The wire's representations, built by the database: the one place where a row's shape is decided, so that an
 * answer, a page and an event can't differ. Each takes the alias of a row in the statement around it.
 * row_to_json over a subselect writes a list of 5,000 items a fifth faster, and a tenth smaller, than
 * json_build_object does.
 */
import { type SQL, sql } from 'drizzle-orm'
import { platformTenantId } from '../../db/schema.ts'

/** @param columns a select list; each column's name is the field's */
export const rowJson = (columns: SQL): SQL => sql`(select row_to_json(r) from (select ${columns}) r)`

/** @param more further columns, as in a select list */
const extended = (columns: string, more?: SQL): SQL =>
  rowJson(more ? sql`${sql.raw(columns)}, ${more}` : sql.raw(columns))

const times = (row: string, ...names: string[]): string =>
  names.map((name) => `wire_time(${row}.${name}) as ${name}`).join(', ')

export const userJson = (u: string): SQL =>
  extended(`${u}.id, nullif(${u}.tenant_id, '${platformTenantId}') as tenant_id, ${u}.email, ${u}.full_name, ${u}.role,
    ${u}.is_active, ${u}.email_verified, ${times(u, 'created_at', 'updated_at')}`)

/** What fellow members of a tenant see of each other. */
export const colleagueJson = (u: string): SQL => extended(`${u}.id, ${u}.full_name, ${u}.email`)

export const tenantJson = (t: string, more?: SQL): SQL =>
  extended(`${t}.id, ${t}.name, ${t}.slug, ${t}.is_active, ${times(t, 'created_at', 'updated_at')}`, more)

export const listJson = (l: string, more?: SQL): SQL =>
  extended(
    `${l}.id, ${l}.name, ${l}.description, ${l}.owner_id, ${l}.seq, ${l}.version,
      ${times(l, 'created_at', 'updated_at', 'deleted_at')}`,
    more,
  )

/** @param m a membership @param u its user */
export const memberJson = (m: string, u: string): SQL =>
  extended(`${m}.user_id, ${u}.full_name, ${u}.email, ${m}.role, ${times(m, 'joined_at')}`)

export const itemJson = (i: string): SQL =>
  extended(`${i}.id, ${i}.list_id, ${i}.name, trim_scale(${i}.quantity) as quantity, ${i}.unit, ${i}.note, ${i}.category,
    ${i}.status, ${i}.position, ${i}.added_by, ${i}.updated_by, ${i}.purchased_by, ${times(i, 'purchased_at')},
    ${i}.version, ${times(i, 'created_at', 'updated_at')}`)

/** @param e an entry of the audit trail @param u its actor's user, or nulls */
export const auditJson = (e: string, u: string): SQL =>
  extended(`${e}.id, ${times(e, 'at')}, ${e}.action, ${e}.actor_id, ${e}.actor_role, ${u}.email as actor_email,
    ${e}.target_type, ${e}.target_id, ${e}.details, ${e}.address, ${e}.request_id`)

export const eventJson = (e: string): SQL =>
  extended(`${e}.type, ${e}.payload, ${e}.seq, ${times(e, 'at')}, ${e}.actor_id`)
