/**
 * The wire's representations, built by the database: the one place where a row's shape is decided, so that an
 * answer, a page and an event can't differ. Each takes the alias of a row in the statement around it.
 */
import { type SQL, sql } from 'drizzle-orm'
import { platformTenantId } from './schema.ts'

export const wireTime = (column: string): SQL<string> => sql.raw(`wire_time(${column})`) as SQL<string>

export const userJson = (u: string): SQL =>
  sql.raw(`json_build_object(
    'id', ${u}.id, 'tenant_id', nullif(${u}.tenant_id, '${platformTenantId}'), 'email', ${u}.email,
    'full_name', ${u}.full_name, 'role', ${u}.role, 'is_active', ${u}.is_active,
    'email_verified', ${u}.email_verified, 'created_at', wire_time(${u}.created_at),
    'updated_at', wire_time(${u}.updated_at))`)

/** What fellow members of a tenant see of each other. */
export const colleagueJson = (u: string): SQL =>
  sql.raw(`json_build_object('id', ${u}.id, 'full_name', ${u}.full_name, 'email', ${u}.email)`)

const tenantFields = (t: string): string => `
  'id', ${t}.id, 'name', ${t}.name, 'slug', ${t}.slug, 'is_active', ${t}.is_active,
  'created_at', wire_time(${t}.created_at), 'updated_at', wire_time(${t}.updated_at)`

/** @param more further fields, as `'name', expression` pairs */
export const tenantJson = (t: string, more?: SQL): SQL =>
  sql`json_build_object(${sql.raw(tenantFields(t))}${more ? sql`, ${more}` : sql``})`

const listFields = (l: string): string => `
  'id', ${l}.id, 'name', ${l}.name, 'description', ${l}.description, 'owner_id', ${l}.owner_id, 'seq', ${l}.seq,
  'version', ${l}.version, 'created_at', wire_time(${l}.created_at), 'updated_at', wire_time(${l}.updated_at),
  'deleted_at', wire_time(${l}.deleted_at)`

/** @param more further fields, as `'name', expression` pairs */
export const listJson = (l: string, more?: SQL): SQL =>
  sql`json_build_object(${sql.raw(listFields(l))}${more ? sql`, ${more}` : sql``})`

export const memberJson = (m: string, u: string): SQL =>
  sql.raw(`json_build_object('user_id', ${m}.user_id, 'full_name', ${u}.full_name, 'email', ${u}.email,
    'role', ${m}.role, 'joined_at', wire_time(${m}.joined_at))`)

export const itemJson = (i: string): SQL =>
  sql.raw(`json_build_object(
    'id', ${i}.id, 'list_id', ${i}.list_id, 'name', ${i}.name, 'quantity', trim_scale(${i}.quantity),
    'unit', ${i}.unit, 'note', ${i}.note, 'category', ${i}.category, 'status', ${i}.status,
    'position', ${i}.position, 'added_by', ${i}.added_by, 'updated_by', ${i}.updated_by,
    'purchased_by', ${i}.purchased_by, 'purchased_at', wire_time(${i}.purchased_at), 'version', ${i}.version,
    'created_at', wire_time(${i}.created_at), 'updated_at', wire_time(${i}.updated_at))`)
