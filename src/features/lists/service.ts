/** Lists themselves: created, renamed, deleted and restored. */
import { type SQL, sql } from 'drizzle-orm'
import type { Actor, Caller } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { ConstraintError } from '../../db/errors.ts'
import { notFound } from '../../errors.ts'
import { newId } from '../../lib/ids.ts'
import { changeList, type ListWriter } from '../list-changes/change.ts'
import {
  type EarlierCall,
  findEarlierCall,
  isKeyed,
  isKeyTaken,
  keepCall,
} from '../list-changes/keyed-calls.ts'
import type { Precondition } from '../list-changes/precondition.ts'
import { refusal } from '../list-changes/refusals.ts'
import { isTenantFull, type Quotas } from '../list-changes/room.ts'
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
  visible: boolean
  deleted: boolean
}

/**
 * The creator is the owner. A repeat of the request, with the same id or the same key, returns what exists, `created`
 * being false.
 * @throws AppError id_conflict, id_deleted, idempotency_conflict, tenant_full; not_found when the repeat's list can no
 * longer be seen
 */
export async function createList(
  writer: Pick<ListWriter, 'db' | 'quotas'>,
  actor: Caller,
  input: NewList,
): Promise<ListAnswer & { created: boolean }> {
  const { db, quotas } = writer
  const earlier = await findEarlierCall(db, actor)
  if (earlier) return { ...(await madeBefore(db, actor, earlier)), created: false }
  const id = input.id ?? newId()
  try {
    const scope = { ...actor, row: { name: actor.tenantId } }
    const [made] = await db.write(scope, creationLock(actor), creation(quotas, actor, id, input))
    if (made) return { ...made, created: true }
  } catch (error) {
    if (isKeyTaken(error)) return await createList(writer, actor, input)
    if (!(error instanceof ConstraintError && error.constraint === 'shopping_lists_pkey')) throw error
  }
  const existing = await findExisting(db, actor, id)
  if (!existing) throw refusal('tenant_full')
  if (existing.deleted) throw refusal('id_deleted')
  if (!existing.visible || !existing.mine) throw refusal('id_conflict')
  return { body: existing.body, tag: existing.tag, created: false }
}

/** A tenant's lists are created one after the other, so that each is counted by the next. */
const creationLock = ({ tenantId }: Caller): SQL =>
  sql`select from tenants where id = ${tenantId} for no key update`

/** Nothing is made in a tenant that is full. */
const creation = (
  quotas: Quotas,
  actor: Caller,
  id: string,
  { name, description = null }: NewList,
): SQL<ListAnswer> => {
  const { tenantId, userId } = actor
  const kept = sql`select from shopping_lists where tenant_id = ${tenantId} limit ${quotas.lists}::bigint`
  return sql<ListAnswer>`with made as (
      insert into shopping_lists (tenant_id, id, name, description, owner_id, created_by, created_at, updated_at)
      select ${tenantId}::uuid, ${id}::uuid, ${name}::text, ${description}::text, ${userId}::uuid, ${userId}::uuid, now(), now()
      where not ${isTenantFull(actor, quotas, sql`1`)}
        and (${quotas.lists}::bigint is null or (select count(*) from (${kept}) k) < ${quotas.lists}::bigint)
      returning *
    ), owner as (
      insert into list_members (tenant_id, list_id, user_id, role)
      select tenant_id, id, owner_id, 'owner' from made
    )${isKeyed(actor) ? sql`, kept as (${keepCall(actor, sql`array[id]`, sql`made`)})` : sql``}
    select ${listJson('l')}::text as body, l.version as tag from made l`
}

async function madeBefore(db: Database, actor: Caller, { same, subjects }: EarlierCall): Promise<ListAnswer> {
  if (!same) throw refusal('idempotency_conflict')
  const existing = subjects[0] === undefined ? undefined : await findExisting(db, actor, subjects[0])
  if (existing?.deleted) throw refusal('id_deleted')
  if (!existing?.visible) throw notFound('list')
  return { body: existing.body, tag: existing.tag }
}

async function findExisting(db: Database, actor: Actor, id: string): Promise<Existing | undefined> {
  const { tenantId, userId } = actor
  const [existing] = await db.read(
    { tenantId },
    // A creator who has since handed the list over and left learns no more than any other stranger.
    sql<Existing>`select ${listJson('l')}::text as body, l.version as tag, l.created_by = ${userId} as mine,
        ${visible(actor)} as visible, l.deleted_at is not null as deleted
      from shopping_lists l
      left join list_members m on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${userId}
      where l.tenant_id = ${tenantId} and l.id = ${id}`,
  )
  return existing
}

const unchangedSince = (demanded: Precondition | null) => ({
  demanded,
  version: sql`t.version`,
  current: sql`select ${listJson('t')} from target t`,
})

const bumpedOrAsItWas: SQL<ListAnswer> = sql<ListAnswer>`
  coalesce((select ${listJson('b')} from bumped b), (select ${listJson('t')} from target t))::text as body,
  coalesce((select version from bumped), (select version from target)) as tag`

/** @throws AppError not_found, forbidden, version_mismatch, tenant_full */
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
    inputs: sql`, wanted as (
        select case when p.patch ? 'name' then p.patch ->> 'name' else t.name end as name,
          case when p.patch ? 'description' then p.patch ->> 'description' else t.description end as description
        from target t, (select ${JSON.stringify(change)}::jsonb as patch) p
      )`,
    refuse: {
      tenant_full: isTenantFull(
        actor,
        writer.quotas,
        sql`select octet_length(concat(w.name, w.description)) - octet_length(concat(t.name, t.description)) from wanted w`,
      ),
    },
    own: {
      type: 'list_updated',
      when: sql`exists (select from ok, wanted w
        where (ok.name, ok.description) is distinct from (w.name, w.description))`,
      set: sql`name = (select name from wanted), description = (select description from wanted)`,
    },
    answer: bumpedOrAsItWas,
  })

/** What is deleted has no body. */
const nothing: ListAnswer = { body: '', tag: 0 }

/** Members stay, for when it is restored. @throws AppError not_found, forbidden, version_mismatch */
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
    own: {
      type: 'list_deleted',
      when: sql`exists (select from ok)`,
      set: sql`deleted_at = clock_timestamp()`,
    },
    done: nothing,
    answer: bumpedOrAsItWas,
  })

/** A list that is not deleted stays as it is. @throws AppError not_found, forbidden */
export const restoreList = (writer: ListWriter, actor: Caller, listId: string): Promise<ListAnswer> =>
  changeList(writer, {
    actor,
    list: sql`${listId}::uuid`,
    permission: 'manage',
    what: 'list',
    // A deleted list exists only for those who may restore it.
    reach: sql`(${actor.role === 'tenant_admin'}::boolean or m.role = 'owner'
      or (l.deleted_at is null and m.user_id is not null))`,
    own: {
      type: 'list_restored',
      when: sql`exists (select from ok where deleted_at is not null)`,
      set: sql`deleted_at = null`,
    },
    answer: bumpedOrAsItWas,
  })
