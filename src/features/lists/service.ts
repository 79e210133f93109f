/** Lists themselves: made, renamed, deleted and brought back. */
import { type SQL, sql } from 'drizzle-orm'
import type { Actor, Caller } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { ConstraintError } from '../../db/errors.ts'
import { newId } from '../../lib/ids.ts'
import { changeList, type ListWriter } from '../list-changes/change.ts'
import type { Precondition } from '../list-changes/precondition.ts'
import { refused } from '../list-changes/refusals.ts'
import { visible } from '../list-changes/visible-lists.ts'
import { listJson } from '../list-changes/wire.ts'
import type { ListFieldsChange, NewList } from './model.ts'

export interface ListAnswer {
  body: string
  /** The list's version. */
  tag: number
}

interface Existing extends ListAnswer {
  mine: boolean
  deleted: boolean
}

/** The creator is its owner. Repeating the request with the same id answers what exists, `created` being false. */
export async function createList(
  db: Database,
  actor: Actor,
  input: NewList,
): Promise<ListAnswer & { created: boolean }> {
  const { tenantId, userId } = actor
  const id = input.id ?? newId()
  try {
    const [made] = await db.write(
      { tenantId },
      sql<ListAnswer>`with made as (
          insert into shopping_lists (tenant_id, id, name, description, owner_id, created_by,
            created_at, updated_at)
          values (${tenantId}, ${id}, ${input.name}, ${input.description ?? null}, ${userId}, ${userId}, now(), now())
          returning *
        ), owner as (
          insert into list_members (tenant_id, list_id, user_id, role)
          select tenant_id, id, owner_id, 'owner' from made
        )
        select ${listJson('l')}::text as body, l.version as tag from made l`,
    )
    if (made) return { ...made, created: true }
  } catch (error) {
    if (!(error instanceof ConstraintError && error.constraint === 'shopping_lists_pkey')) throw error
  }
  const [existing] = await db.read(
    { tenantId },
    // A creator who has since handed it over and gone is told no more than anyone else whom it is not for.
    sql<Existing>`select ${listJson('l')}::text as body, l.version as tag,
        l.created_by = ${actor.userId} and ${visible(actor)} as mine, l.deleted_at is not null as deleted
      from shopping_lists l
      left join list_members m on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${actor.userId}
      where l.tenant_id = ${actor.tenantId} and l.id = ${id}`,
  )
  if (existing?.deleted) throw refused('id_deleted')
  if (!existing?.mine) throw refused('id_conflict')
  return { body: existing.body, tag: existing.tag, created: false }
}

const unchangedSince = (demanded: Precondition | null) => ({
  demanded,
  version: sql`t.version`,
  current: sql`select ${listJson('t')} from target t`,
})

const bumpedOrAsItWas: SQL<ListAnswer> = sql<ListAnswer>`
  coalesce((select ${listJson('b')} from bumped b), (select ${listJson('ok')} from ok))::text as body,
  coalesce((select version from bumped), (select version from ok)) as tag`

const oneEvent = (type: string): SQL =>
  sql`select 1, ${type}::text, jsonb_build_object('list', ${listJson('b')}) from bumped b`

/** @throws AppError not_found, forbidden, version_mismatch */
export const changeListFields = (
  writer: ListWriter,
  actor: Caller,
  listId: string,
  change: ListFieldsChange,
  demanded: Precondition | null,
): Promise<ListAnswer> =>
  changeList(writer, {
    actor,
    list: sql`${listId}::uuid`,
    permission: 'manage',
    what: 'list',
    precondition: unchangedSince(demanded),
    steps: sql`, wanted as (
        select case when p.patch ? 'name' then p.patch ->> 'name' else ok.name end as name,
          case when p.patch ? 'description' then p.patch ->> 'description' else ok.description end as description
        from ok, (select ${JSON.stringify(change)}::jsonb as patch) p
      )`,
    eventCount: sql`select count(*) from ok, wanted w
      where (ok.name, ok.description) is distinct from (w.name, w.description)`,
    set: sql`, name = (select name from wanted), description = (select description from wanted), version = l.version + 1`,
    events: oneEvent('list_updated'),
    answer: bumpedOrAsItWas,
  })

/** Its members keep their places, for the day it is restored. @throws AppError not_found, forbidden, version_mismatch */
export const deleteList = (
  writer: ListWriter,
  actor: Caller,
  listId: string,
  demanded: Precondition | null,
) =>
  changeList(writer, {
    actor,
    list: sql`${listId}::uuid`,
    permission: 'manage',
    what: 'list',
    precondition: unchangedSince(demanded),
    steps: sql``,
    eventCount: sql`select count(*) from ok`,
    set: sql`, deleted_at = clock_timestamp(), version = l.version + 1`,
    events: oneEvent('list_deleted'),
    answer: bumpedOrAsItWas,
  })

/** A list that is not deleted is answered as it is. @throws AppError not_found, forbidden */
export const restoreList = (writer: ListWriter, actor: Caller, listId: string): Promise<ListAnswer> =>
  changeList(writer, {
    actor,
    list: sql`${listId}::uuid`,
    permission: 'manage',
    what: 'list',
    // A deleted list is there only for those who may bring it back.
    reach: sql`(${actor.role === 'tenant_admin'}::boolean or m.role = 'owner'
      or (l.deleted_at is null and m.user_id is not null))`,
    steps: sql``,
    eventCount: sql`select count(*) from ok where deleted_at is not null`,
    set: sql`, deleted_at = null, version = l.version + 1`,
    events: oneEvent('list_restored'),
    answer: bumpedOrAsItWas,
  })
