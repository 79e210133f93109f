/**
 * The one way to change a list, its members or its items. Every writer describes its change here; no list change
 * exists outside it. In one transaction and one round trip it
 *   1. locks the list's row, so that changes of one list stand in line and each sees what the one before it did,
 *   2. finds the list for the actor (who cannot see it is told it is not there) and checks what he may do,
 *      what he believed (`If-Match`) and what the change itself demands,
 *   3. makes the change, counts `seq` up by the number of its events, and appends them.
 * So the order of events is the order of commits, their numbers have no holes, and an acknowledged change always has
 * its event. A change that changes nothing has no events and leaves the list's row alone.
 */

import { type SQL, sql } from 'drizzle-orm'
import type { Actor, Caller } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { notFound } from '../../errors.ts'
import { type AuditEntry, auditStatement, by } from '../audit/entry.ts'
import type { ListEvent } from './events.ts'
import type { Precondition } from './precondition.ts'
import { isRefusal, refused } from './refusals.ts'
import { visible } from './visible-lists.ts'
import { eventJson } from './wire.ts'

/**
 * What the actor must be allowed: to see the list, to work on its items, or to manage it and its members. An invited
 * one is no member yet: what he may do, his invitation says.
 */
export type Permission = 'invited' | 'see' | 'edit' | 'manage'

export interface ListChange<Answer> {
  actor: Caller
  /** The list's id, as an expression. */
  list: SQL
  permission: Permission
  /** What the answer calls the thing that is not there. */
  what: string
  /** Which lists the actor can reach, over `l` and his membership `m`; by default the living ones he sees. */
  reach?: SQL
  precondition?: { demanded: Precondition | null; version: SQL; current: SQL }
  /** Further CTEs that the checks and the steps read; each begins with a comma. `target` is the list's row. */
  inputs?: SQL
  /** A refusal's code or null, over `target t`. */
  refuse?: SQL
  /** The CTEs that change rows, each beginning with a comma. They read `ok`, which is empty when refused. */
  steps: SQL
  /** How many events the change has. */
  eventCount: SQL
  /** Further columns of the list's row, over `l` and `ok`; begins with a comma. */
  set?: SQL
  /** `select ordinal, type, payload` of the events; may read `bumped`, the list's row after the change. */
  events: SQL
  /** Its entry in the audit trail, written once for each row of `from`, which reads the steps. */
  audit?: Pick<AuditEntry, 'action' | 'target' | 'details'> & { from: SQL }
  /** Columns of the answer. */
  answer: SQL<Answer>
}

/** What a writer of lists needs: the database, and who is to be told after the commit. */
export interface ListWriter {
  db: Database
  publish: (
    list: { tenantId: string; listId: string },
    events: readonly ListEvent[],
    requestId: string | null,
  ) => void
}

/** @throws AppError not_found, and whatever the refusal says; the rows are then as they were */
export async function changeList<Answer>(
  { db, publish }: ListWriter,
  change: ListChange<Answer>,
): Promise<Answer> {
  const { tenantId } = change.actor
  const lock = sql`select from shopping_lists where tenant_id = ${tenantId} and id = ${change.list} for no key update`
  const [row] = await db.write(change.actor, lock, statement(change))
  if (!row || row.refusal === 'not_found') throw notFound(change.what)
  if (isRefusal(row.refusal)) throw refused(row.refusal, row.current)
  if (row.events) publish({ tenantId, listId: row.listId }, row.events, change.actor.requestId)
  return row
}

type Row<Answer> = Answer & {
  refusal: string | null
  current: string | null
  listId: string
  /** Null where nothing changed. */
  events: ListEvent[] | null
}

const statement = <Answer>(change: ListChange<Answer>): SQL<Row<Answer>> => sql<Row<Answer>>`
  with target as (
    select l.*, m.role as member_role
    from shopping_lists l
    left join list_members m
      on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${change.actor.userId}
    where l.tenant_id = ${change.actor.tenantId} and l.id = ${change.list} and ${change.reach ?? visible(change.actor)}
  )${change.inputs ?? sql``}
  , gate as (
    select case
      when not ${allowed(change.permission, change.actor)} then 'forbidden'
      when ${stale(change)} then 'version_mismatch'
      else ${change.refuse ?? sql`null`}
    end as refusal
    from target t
  ), ok as (
    select t.* from target t, gate where gate.refusal is null
  )${change.steps}
  , bumped as (
    update shopping_lists l set seq = l.seq + n.events,
      updated_at = greatest(l.updated_at + interval '1 millisecond', clock_timestamp())${change.set ?? sql``}
    from ok, (select (${change.eventCount})::int as events) n
    where l.tenant_id = ok.tenant_id and l.id = ok.id and n.events > 0
    returning l.*
  ), logged as (
    insert into list_events (tenant_id, list_id, seq, type, payload, actor_id, at)
    select ok.tenant_id, ok.id, ok.seq + e.ordinal, e.type, jsonb_build_object('list_id', ok.id) || e.payload,
      ${change.actor.userId}::uuid, bumped.updated_at
    from ok, bumped, (${change.events}) e (ordinal, type, payload)
    returning *
  )${audited(change)}
  select gate.refusal, (select id from target) as "listId",
    (select json_agg(json_build_object('seq', e.seq, 'type', e.type, 'userId', e.payload ->> 'user_id',
      'text', ${eventJson('e')}::text) order by e.seq) from logged e) as events,
    case gate.refusal when 'version_mismatch' then (${change.precondition?.current ?? sql`null`})::text end as current,
    ${change.answer}
  from gate`

const audited = ({ actor, audit }: ListChange<unknown>): SQL =>
  audit ? sql`, audited as (${auditStatement({ ...by(actor), ...audit }, audit.from)})` : sql``

const isAdmin = (actor: Actor): boolean => actor.role === 'tenant_admin'

const rolesFor: Record<Exclude<Permission, 'invited'>, SQL> = {
  see: sql.raw(`('owner', 'editor', 'viewer')`),
  edit: sql.raw(`('owner', 'editor')`),
  manage: sql.raw(`('owner')`),
}

const allowed = (permission: Permission, actor: Actor): SQL =>
  permission === 'invited'
    ? sql`true`
    : sql`(${isAdmin(actor)}::boolean or coalesce(t.member_role in ${rolesFor[permission]}, false))`

/** The numbers travel as JSON, so that the statement's text, and with it its preparation, stays the same. */
function stale({ precondition }: ListChange<unknown>): SQL {
  if (!precondition) return sql`false`
  const { demanded, version } = precondition
  const versions = demanded && JSON.stringify(demanded.versions)
  const seqs = demanded && JSON.stringify(demanded.seqs)
  return sql`coalesce(not (${versions}::jsonb @> to_jsonb((${version})::int) or ${seqs}::jsonb @> to_jsonb(t.seq)), false)`
}
