/** Items. Every change goes through list-changes/change.ts. */
import { type SQL, sql } from 'drizzle-orm'
import type { Actor, Caller } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { ConstraintError } from '../../db/errors.ts'
import { items } from '../../db/schema.ts'
import { columnsNamed } from '../../db/wire-json.ts'
import { notFound } from '../../errors.ts'
import { type Cursors, openPage, type PageRow } from '../../lib/cursor.ts'
import { newId } from '../../lib/ids.ts'
import { changeList, type ListWriter } from '../list-changes/change.ts'
import { isKeyed } from '../list-changes/keyed-calls.ts'
import type { Precondition } from '../list-changes/precondition.ts'
import { isListFull, isTenantFull, maxItemsPerList, type Quotas, textBytes } from '../list-changes/room.ts'
import { visible } from '../list-changes/visible-lists.ts'
import { itemJson } from '../list-changes/wire.ts'
import { ItemChange, type ItemQuery, NewItem } from './model.ts'

export interface ItemAnswer {
  body: string
  /** The item's version. */
  tag: number
}

export interface AddedAnswer {
  body: string
  /** The item's version; null for several. */
  tag: number | null
  /** False when all of them exist already, from an earlier attempt of the same request. */
  created: boolean
}

/**
 * Adds one item or several, all or none, after the last one unless they bring a position.
 * @param shape whether the answer is the item itself or `{data: [...]}`
 * @throws AppError not_found, forbidden, id_conflict, id_deleted, list_full, tenant_full
 */
export async function addItems(
  writer: ListWriter,
  actor: Caller,
  listId: string,
  newItems: readonly NewItem[],
  shape: 'one' | 'many',
): Promise<AddedAnswer> {
  const add = () => changeList(writer, addition(writer.quotas, actor, listId, newItems, shape))
  return add().catch((error: unknown) => {
    // A writer of another list took the same id at this moment; now its owner can be seen.
    if (error instanceof ConstraintError && error.constraint === 'items_pkey') return add()
    throw error
  })
}

const addition = (
  quotas: Quotas,
  actor: Caller,
  listId: string,
  newItems: readonly NewItem[],
  shape: 'one' | 'many',
) => {
  const rows = JSON.stringify(newItems.map((item) => ({ ...item, id: item.id ?? newId() })))
  const all = sql`(select * from added union all select * from existing)`
  // A repeat brings new ids where the client left them to the service.
  const known = isKeyed(actor)
    ? sql`select id, ordinal from wanted union
        select s.id, s.ordinal from keyed, unnest(keyed.subjects) with ordinality as s (id, ordinal)`
    : sql`select id, ordinal from wanted`
  const textGrowth = sql`select coalesce(sum(${textBytes('w')}), 0) from wanted w
    where not exists (select from existing e where e.id = w.id)`
  return {
    actor,
    list: sql`${listId}::uuid`,
    permission: 'edit' as const,
    what: 'list',
    inputs: sql`, wanted as (
        select * from rows from (jsonb_to_recordset(${rows}::jsonb) as (${newItemTypes})) with ordinality
          as w (${newItemNames}, ordinal)
      ), existing as (
        select i.* from items i join (${known}) k on k.id = i.id where i.tenant_id = ${actor.tenantId}
      )`,
    gone: {
      code: 'id_deleted' as const,
      when: sql`exists (select from existing where deleted_at is not null)`,
    },
    subjects: sql`(select array_agg(w.id order by w.ordinal) from wanted w)`,
    refuse: {
      id_deleted: sql`exists (select from existing where deleted_at is not null)`,
      id_conflict: sql`exists (select from existing e where e.list_id <> t.id or e.added_by <> ${actor.userId})`,
      list_full: sql`t.item_count + (select count(*) from wanted) - (select count(*) from existing) > ${maxItemsPerList}::int
        or ${isListFull(textGrowth)}`,
      tenant_full: isTenantFull(actor, quotas, textGrowth),
    },
    steps: sql`, fresh as (
        select w.*, row_number() over (partition by w.position is null order by w.ordinal) as place
        from ok, wanted w where not exists (select from existing e where e.id = w.id)
      ), tail as (
        select p.* from positions_after(
          greatest(
            (select i.position from ok join items i on i.tenant_id = ok.tenant_id and i.list_id = ok.id
              where i.deleted_at is null order by i.position desc limit 1),
            (select max(position collate "C") from fresh)),
          (select count(*)::int from fresh where position is null)) p
      ), added as (
        insert into items (tenant_id, list_id, added_by, updated_by, ${newItemNames})
        select ok.tenant_id, ok.id, ${actor.userId}::uuid, ${actor.userId}::uuid, ${newItemValues}
        from ok, fresh f left join tail on f.position is null and tail.ordinal = f.place
        returning *
      )`,
    events: {
      type: 'item_added' as const,
      payload: { item: itemJson('a') },
      rows: sql`added a join wanted w on w.id = a.id`,
      order: sql`w.ordinal`,
    },
    counters: sql`, item_count = l.item_count + (select count(*) from added),
      pending_count = l.pending_count + (select count(*) from added)`,
    textGrowth,
    answer:
      shape === 'one'
        ? sql<AddedAnswer>`(select ${itemJson('i')} from ${all} i)::text as body,
            (select i.version from ${all} i) as tag, exists (select from added) as created`
        : sql<AddedAnswer>`(select '{"data":' || json_agg(${itemJson('i')} order by k.ordinal)::text || '}'
            from ${all} i join (${known}) k on k.id = i.id) as body,
            null::int as tag, exists (select from added) as created`,
  }
}

/** The columns of a new item, as its model names them. */
const newItemColumns = columnsNamed(items, Object.keys(NewItem.properties))
const newItemNames = sql.raw(newItemColumns.map(({ name }) => name).join(', '))
const newItemTypes = sql.raw(
  newItemColumns.map((column) => `${column.name} ${column.getSQLType()}`).join(', '),
)
/** From a row `f` of what was sent; `tail` has a position where it brings none. */
const newItemValues = sql.raw(
  newItemColumns
    .map(
      ({ name }) =>
        ({ quantity: 'coalesce(f.quantity, 1)', position: 'coalesce(f.position, tail.key)' })[name] ??
        `f.${name}`,
    )
    .join(', '),
)

/** The list an item is on, as an expression. */
const listOf = (actor: Actor, itemId: string): SQL =>
  sql`(select i.list_id from items i where i.tenant_id = ${actor.tenantId} and i.id = ${itemId} and i.deleted_at is null)`

const theItem = (actor: Actor, itemId: string): SQL => sql`, item as (
    select i.* from items i join target t on t.id = i.list_id
    where i.tenant_id = ${actor.tenantId} and i.id = ${itemId} and i.deleted_at is null
  )`

const unchangedSince = (demanded: Precondition | null) => ({
  demanded,
  version: sql`select version from item`,
  current: sql`select ${itemJson('i')} from item i`,
})

/** The columns that a PATCH may change, as its model names them. */
const changeableColumns = columnsNamed(items, Object.keys(ItemChange.properties))
const eachChangeable = (expression: (name: string, type: string) => string): SQL =>
  sql.raw(changeableColumns.map((column) => expression(column.name, column.getSQLType())).join(', '))
/** From the item `i` and the `patch` of `p`. */
const patched = eachChangeable(
  (name, type) =>
    `case when p.patch ? '${name}' then (p.patch ->> '${name}')::${type} else i.${name} end as ${name}`,
)
const changedNames = eachChangeable(
  (name) => `case when w.${name} is distinct from i.${name} then '${name}' end`,
)
const assigned = eachChangeable((name) => `${name} = w.${name}`)

/** @throws AppError not_found, forbidden, version_mismatch, list_full, tenant_full */
export const changeItem = (
  writer: ListWriter,
  actor: Caller,
  itemId: string,
  change: ItemChange,
  demanded: Precondition | null,
): Promise<ItemAnswer> => {
  const textGrowth = sql`select ${textBytes('w')} - ${textBytes('i')} from wanted w, item i`
  return changeList(writer, {
    actor,
    list: listOf(actor, itemId),
    permission: 'edit',
    what: 'item',
    precondition: unchangedSince(demanded),
    inputs: sql`${theItem(actor, itemId)}, wanted as (
        select ${patched} from item i, (select ${JSON.stringify(change)}::jsonb as patch) p
      )`,
    refuse: {
      list_full: isListFull(textGrowth),
      tenant_full: isTenantFull(actor, writer.quotas, textGrowth),
    },
    steps: sql`, difference as (
        select array_remove(array[${changedNames}], null) as fields from wanted w, item i
      ), updated as (
        update items i set ${assigned},
          purchased_by = case when w.status = i.status then i.purchased_by
            when w.status = 'purchased' then ${actor.userId}::uuid end,
          purchased_at = case when w.status = i.status then i.purchased_at
            when w.status = 'purchased' then clock_timestamp() end,
          updated_by = ${actor.userId}::uuid, updated_at = clock_timestamp(), version = i.version + 1
        from ok, item, wanted w, difference d
        where i.tenant_id = ok.tenant_id and i.id = item.id and d.fields <> '{}'
        returning i.*
      )`,
    events: {
      type: 'item_updated',
      payload: { item: itemJson('u'), changed: sql`d.fields` },
      rows: sql`updated u, difference d`,
    },
    counters: sql`, pending_count = l.pending_count
      + coalesce((select (u.status = 'pending')::int - (i.status = 'pending')::int from updated u, item i), 0)`,
    textGrowth,
    answer: sql<ItemAnswer>`
      coalesce((select ${itemJson('u')} from updated u), (select ${itemJson('i')} from item i))::text as body,
      coalesce((select version from updated), (select version from item)) as tag`,
  })
}

/** @throws AppError not_found, forbidden, version_mismatch */
export const deleteItem = (
  writer: ListWriter,
  actor: Caller,
  itemId: string,
  demanded: Precondition | null,
) =>
  changeList(writer, {
    actor,
    list: listOf(actor, itemId),
    permission: 'edit',
    what: 'item',
    precondition: unchangedSince(demanded),
    inputs: theItem(actor, itemId),
    done: { deleted: 1 },
    ...removal(actor, sql`i.id = (select id from item)`),
  })

/** Deletes the purchased items, one event each, in list order. @throws AppError not_found, forbidden */
export const clearPurchased = (
  writer: ListWriter,
  actor: Caller,
  listId: string,
): Promise<{ deleted: number }> =>
  changeList(writer, {
    actor,
    list: sql`${listId}::uuid`,
    permission: 'edit',
    what: 'list',
    ...removal(actor, sql`i.status = 'purchased'`),
  })

const removal = (actor: Caller, which: SQL) => ({
  steps: sql`, removed as (
      update items i set deleted_at = clock_timestamp(), updated_by = ${actor.userId}::uuid
      from ok where i.tenant_id = ok.tenant_id and i.list_id = ok.id and i.deleted_at is null and ${which}
      returning i.*
    )`,
  events: {
    type: 'item_deleted' as const,
    payload: { item_id: sql`r.id` },
    rows: sql`removed r`,
    order: sql`r.position, r.id`,
  },
  counters: sql`, item_count = l.item_count - (select count(*) from removed),
    pending_count = l.pending_count - (select count(*) from removed where status = 'pending')`,
  textGrowth: sql`select -coalesce(sum(${textBytes('r')}), 0) from removed r`,
  subjects: sql`(select array_agg(r.id) from removed r)`,
  answer: sql<{
    deleted: number
  }>`coalesce(${isKeyed(actor) ? sql`(select cardinality(subjects) from keyed)` : sql`null`},
    (select count(*)::int from removed)) as deleted`,
})

/** A page of a list's items in list order, as JSON text. @throws AppError not_found, invalid (another list's cursor) */
export async function listItems(
  db: Database,
  cursors: Cursors,
  actor: Actor,
  listId: string,
  query: ItemQuery,
): Promise<string> {
  const { status } = query
  const page = openPage(cursors, ['items', actor.tenantId, listId, status], query)
  const [position, id] = page.after
  const [row] = await db.read(
    actor,
    sql<{ rows: string | null }>`
      select (select json_agg(json_build_object('body', p.body, 'key', p.key)) from (
          select ${itemJson('i')}::text as body, json_build_array(i.position, i.id)::text as key
          from items i
          where i.tenant_id = l.tenant_id and i.list_id = l.id and i.deleted_at is null
            and (${status ?? null}::text is null or i.status = ${status ?? null}::text)
            and (${position ?? null}::text is null
              or (i.position, i.id) > (${position ?? null}::text collate "C", ${id ?? null}::uuid))
          order by i.position, i.id limit ${page.fetch}::int
        ) p)::text as rows
      from shopping_lists l
      left join list_members m on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${actor.userId}
      where l.tenant_id = ${actor.tenantId} and l.id = ${listId} and ${visible(actor)}`,
  )
  if (!row) throw notFound('list')
  return page.answer(row.rows === null ? [] : (JSON.parse(row.rows) as PageRow[]))
}
