/**
 * The one way to change a list, its members or its items: every writer describes its change here, and no change of a
 * list exists outside it. In one transaction and one round trip, changeList
 *   1. locks the list's row, so that changes of one list queue up and each sees the one before it,
 *   2. finds the list for the actor (to whoever cannot see it, it is not there) and checks their permission, their
 *      precondition (`If-Match`) and what the change itself may be refused for,
 *   3. makes the change, adds the number of its events to `seq`, and appends them.
 * So events are ordered as the commits are, their numbers have no gaps, and an acknowledged change always has its
 * events. A change that changes nothing has none and leaves the list's row alone.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Actor, Caller } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { notFound } from '../../errors.ts'
import { type AuditEntry, auditStatement, by } from '../audit/entry.ts'
import { chain, type EventType, type eventFields, type ListEvent, type ListKey } from './events.ts'
import { actionId, findEarlierCall, isKeyed, isKeyTaken, keepCall, keyedCte } from './keyed-calls.ts'
import type { Precondition } from './precondition.ts'
import { type Current, isRefusal, type Refusal, refusal } from './refusals.ts'
import { listTextBytes, type Quotas } from './room.ts'
import { writeInTurn } from './turns.ts'
import { visible } from './visible-lists.ts'
import { eventJson, eventMark, lastMark, listJson } from './wire.ts'

/**
 * What the actor must be allowed: to see the list, to edit its items, or to manage it and its members. Whoever is
 * invited is no member yet: their invitation decides.
 */
export type Permission = 'invited' | 'see' | 'edit' | 'manage'

/**
 * A change, in the order in which it is checked and made. The SQL of each part may read `target t`, the list's row with
 * the actor's `member_role`, and the CTEs of the parts before it; from `steps` on, `ok`: the target, or nothing when
 * the change is refused.
 */
export interface ListChange<Answer> {
  actor: Caller
  /** The list's id, as an expression. */
  list: SQL
  /** What a 404 says is not there. */
  what: string
  /** Which lists the actor can reach, over `l` and their membership `m`. Default: the live ones they can see. */
  reach?: SQL
  permission: Permission
  precondition?: { demanded: Precondition | null; version: SQL; current: SQL }
  /** Further CTEs, each beginning with a comma. */
  inputs?: SQL
  /** Conditions by the code they refuse with; the first that holds decides. */
  refuse?: Partial<Record<Refusal | 'not_found', SQL>>
  /** The CTEs that change members or items, each beginning with a comma. */
  steps?: SQL
  /** The events of these steps. */
  events?: RowEvents
  /** The list's own change. Its event comes last and carries the list as it is then. */
  own?: OwnChange
  /** Further columns of the list's row, over `l` and `ok`; begins with a comma. */
  counters?: SQL
  /** By how many bytes the text of its items grows. */
  textGrowth?: SQL
  /** Its entry in the audit trail, written once for each row of `from`. */
  audit?: Pick<AuditEntry, 'action' | 'target' | 'details'> & { from: SQL }
  /** The items that the change adds or deletes, as an array of ids over `steps`, for a repeat of the call. */
  subjects?: SQL
  /** When a repeat of the call finds that what it was about is gone, and what it is told then. */
  gone?: { code: 'not_found' | 'id_deleted'; when: SQL }
  /** The answer to a repeat where what the call was about can no longer be found, as it was to be deleted or left. */
  done?: Answer
  /** Columns of the answer, also for a repeat of the call; may read `bumped`, the list's row after the change. */
  answer: SQL<Answer>
}

/** One event of this type for each row of `rows` (a from clause), in `order`. */
export type RowEvents = {
  [Type in EventType]: {
    type: Type
    payload: { [Field in keyof (typeof eventFields)[Type]]: SQL }
    rows: SQL
    order?: SQL
  }
}[EventType]

export interface OwnChange {
  type: 'list_updated' | 'list_deleted' | 'list_restored'
  /** Whether there is anything to change, as a condition. */
  when: SQL
  /** Columns of the list's row. Its version goes up by itself. */
  set: SQL
}

/** What a writer of lists needs: the database, what tenants may keep, and whom to notify after the commit. */
export interface ListWriter {
  db: Database
  quotas: Quotas
  publish: (list: ListKey, events: readonly ListEvent[], requestId: string | null) => void
}

/** @throws AppError not_found, or the refusal; the rows are then as they were */
export async function changeList<Answer>(
  { db, publish }: ListWriter,
  change: ListChange<Answer>,
): Promise<Answer> {
  const { tenantId } = change.actor
  const lock = sql`select from shopping_lists where tenant_id = ${tenantId} and id = ${change.list} for no key update`
  const attempt = (): Promise<Row<Answer> | undefined> =>
    writeInTurn(db, change.actor, change.list, [lock, statement(change)])
  const row = await attempt().catch((error: unknown) => {
    if (isKeyTaken(error)) return attempt()
    throw error
  })
  if (!row || row.refusal === 'not_found') return await ensureDone(db, change)
  if (isRefusal(row.refusal)) throw refusal(row.refusal, row.current)
  if (row.events) {
    const events = chain(row.lastMark, row.events)
    publish({ tenantId, listId: row.listId }, events, change.actor.requestId)
  }
  return row
}

/** @throws AppError not_found unless this repeats a call that deleted what it was about, or left the list */
async function ensureDone<Answer>(db: Database, { actor, done, what }: ListChange<Answer>): Promise<Answer> {
  const earlier = done === undefined ? null : await findEarlierCall(db, actor)
  const isLeaving = actor.keyed?.path.endsWith(`/members/${actor.userId}`) === true
  if (done !== undefined && earlier?.same && (earlier.reaches || isLeaving)) return done
  throw notFound(what)
}

type Row<Answer> = Answer & {
  refusal: string | null
  current: Current | null
  listId: string
  /** The mark of the list's last event before the change. */
  lastMark: string
  /** Null where nothing changed. */
  events: Omit<ListEvent, 'previous'>[] | null
}

const statement = <Answer>(change: ListChange<Answer>): SQL<Row<Answer>> => sql<Row<Answer>>`
  with action as (
    select ${actionId(change.actor, change.list)} as id
  ), ${isKeyed(change.actor) ? sql`${keyedCte(change.actor)}, ` : sql``} target as (
    select l.*, m.role as member_role
    from shopping_lists l
    left join list_members m
      on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${change.actor.userId}
    where l.tenant_id = ${change.actor.tenantId} and l.id = ${change.list} and ${change.reach ?? visible(change.actor)}
  )${change.inputs ?? sql``}
  , gate as (
    select case
      ${repeated(change)}
      when not ${allowed(change.permission, change.actor)} then 'forbidden'
      when ${stale(change)} then 'version_mismatch'
      ${refused(change)}
    end as refusal
    from target t
  ), ok as (
    select t.* from target t, gate where gate.refusal is null
  )${change.steps ?? sql``}
  , bumped as (
    update shopping_lists l set seq = l.seq + n.events,
      updated_at = greatest(l.updated_at + interval '1 millisecond', clock_timestamp()),
      mark = event_mark(action.id, l.id, l.seq, null), mark_seq = l.seq + n.events,
      text_bytes = ${listTextBytes('ok')} + (${change.textGrowth ?? sql`0`}), text_seq = l.seq + n.events${setOfOwn(change)}${change.counters ?? sql``}
    from ok, action, (select (${eventCount(change)})::int as events) n
    where l.tenant_id = ok.tenant_id and l.id = ok.id and n.events > 0
    returning l.*
  ), logged as (
    insert into list_events (tenant_id, list_id, seq, type, payload, actor_id, action_id, at)
    select ok.tenant_id, ok.id, ok.seq + e.ordinal, e.type, jsonb_build_object('list_id', ok.id) || e.payload,
      ${change.actor.userId}::uuid, action.id, bumped.updated_at
    from ok, bumped, action, (${eventRows(change)}) e (ordinal, type, payload)
    returning *
  )${kept(change)}${audited(change)}
  select gate.refusal, (select id from target) as "listId", (select ${lastMark('t')} from target t) as "lastMark",
    (select json_agg(json_build_object('seq', e.seq, 'mark', ${eventMark('e')}, 'type', e.type, 'userId', e.payload ->> 'user_id',
      'text', ${eventJson('e')}::text) order by e.seq) from logged e) as events,
    case gate.refusal when 'version_mismatch' then ${currentOf(change)} end as current,
    ${change.answer}
  from gate`

const rolesFor: Record<Exclude<Permission, 'invited'>, SQL> = {
  see: sql.raw(`('owner', 'editor', 'viewer')`),
  edit: sql.raw(`('owner', 'editor')`),
  manage: sql.raw(`('owner')`),
}

const isAdmin = (actor: Actor): boolean => actor.role === 'tenant_admin'

const allowed = (permission: Permission, actor: Actor): SQL =>
  permission === 'invited'
    ? sql`true`
    : sql`(${isAdmin(actor)}::boolean or coalesce(t.member_role in ${rolesFor[permission]}, false))`

/** The tags travel as JSON, so that the statement's text, and with it its preparation, stays the same. */
function stale({ precondition }: ListChange<unknown>): SQL {
  if (!precondition) return sql`false`
  const { demanded, version } = precondition
  return sql`coalesce(not ${demanded && JSON.stringify(demanded)}::jsonb ?|
    array[(${version})::text, concat('seq-', t.seq), concat('seq-', t.seq, '.', ${lastMark('t')})], false)`
}

const currentOf = ({ precondition }: ListChange<unknown>): SQL =>
  precondition
    ? sql`json_build_object('body', (${precondition.current})::text, 'tag', (select (${precondition.version})::text from target t))`
    : sql`null`

function repeated({ actor, gone }: ListChange<unknown>): SQL {
  if (!isKeyed(actor)) return sql``
  return sql`when exists (select from keyed where not same) then 'idempotency_conflict'
    ${gone ? sql`when exists (select from keyed) and (${gone.when}) then ${sql.raw(`'${gone.code}'`)}` : sql``}
    when exists (select from keyed) then 'repeated'`
}

const kept = ({ actor, subjects = sql`'{}'::uuid[]` }: ListChange<unknown>): SQL =>
  isKeyed(actor) ? sql`, kept as (${keepCall(actor, subjects, sql`bumped`)})` : sql``

const refused = ({ refuse = {} }: ListChange<unknown>): SQL =>
  sql.join(
    Object.entries(refuse).map(([code, condition]) => sql`when ${condition} then ${sql.raw(`'${code}'`)} `),
  )

const setOfOwn = ({ own }: ListChange<unknown>): SQL =>
  own ? sql`, ${own.set}, version = l.version + 1` : sql``

const eventCount = ({ events, own }: ListChange<unknown>): SQL =>
  sql`${events ? sql`(select count(*) from ${events.rows})` : sql`0`} + ${own ? sql`(${own.when})::int` : sql`0`}`

function eventRows({ events, own }: ListChange<unknown>): SQL {
  const ofRows =
    events &&
    sql`select row_number() over (${events.order ? sql`order by ${events.order}` : sql``}), ${typeName(events.type)},
      ${payloadJson(events.payload)} from ${events.rows}`
  const ofOwn =
    own &&
    sql`select b.seq - ok.seq, ${typeName(own.type)}, ${payloadJson({ list: listJson('b') })} from bumped b, ok`
  return sql.join(
    [ofRows, ofOwn].filter((part) => part !== undefined),
    sql` union all `,
  )
}

const typeName = (type: EventType): SQL => sql.raw(`'${type}'`)

const payloadJson = (payload: Readonly<Record<string, SQL>>): SQL =>
  sql`jsonb_build_object(${sql.join(
    Object.entries(payload).map(([field, value]) => sql`${sql.raw(`'${field}'`)}, ${value}`),
    sql`, `,
  )})`

const audited = ({ actor, audit }: ListChange<unknown>): SQL =>
  audit ? sql`, audited as (${auditStatement({ ...by(actor), ...audit }, audit.from)})` : sql``
