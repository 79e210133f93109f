/**
 * `Idempotency-Key` on whatever changes a list (draft-ietf-httpapi-idempotency-key-header). A call that changed
 * something is kept with its key, in the statement of the change. Its repeat by the same user changes nothing and is
 * answered by how things are now; another call with the key is refused. The key is the `action_id` of the events.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { Caller, KeyedCall } from '../../access/actor.ts'
import type { Database } from '../../db/database.ts'
import { ConstraintError } from '../../db/errors.ts'
import { newActionId } from '../../lib/ids.ts'

interface KeyedCaller extends Caller {
  readonly keyed: KeyedCall
}

export const isKeyed = (actor: Caller): actor is KeyedCaller => actor.keyed !== null

const isSame = ({ method, path, bodyHash }: KeyedCall): SQL =>
  sql`(k.method, k.path, k.body_hash) is not distinct from (${method}::text, ${path}::text, ${bodyHash}::text)`

const ofCaller = ({ tenantId, userId, keyed }: KeyedCaller): SQL =>
  sql`k.tenant_id = ${tenantId} and k.key = ${keyed.key}::uuid and k.user_id = ${userId}`

/** `keyed`, the call that the actor has made with this key, and whether it was the `same` as this one. */
export const keyedCte = (actor: KeyedCaller): SQL =>
  sql`keyed as (select k.subjects, ${isSame(actor.keyed)} as same from keyed_calls k where ${ofCaller(actor)})`

/** The action's id: the key, unless another user's action on the list has it. */
export const actionId = (actor: Caller, list: SQL): SQL =>
  isKeyed(actor)
    ? sql`case when exists (select from keyed_calls k where k.tenant_id = ${actor.tenantId}
        and k.key = ${actor.keyed.key}::uuid and k.user_id <> ${actor.userId} and k.list_id = ${list})
      then ${newActionId()}::uuid else ${actor.keyed.key}::uuid end`
    : sql`${newActionId()}::uuid`

/** @param subjects what the call was about, as an array of ids @param from the list's id as `id`, once if it is to be kept */
export const keepCall = ({ tenantId, userId, keyed }: KeyedCaller, subjects: SQL, from: SQL): SQL => sql`
  insert into keyed_calls (tenant_id, user_id, key, method, path, body_hash, list_id, subjects)
  select ${tenantId}::uuid, ${userId}::uuid, ${keyed.key}::uuid, ${keyed.method}::text, ${keyed.path}::text,
    ${keyed.bodyHash}::text, id, coalesce(${subjects}, '{}') from ${from}`

/** The call with this key was made at the same moment, on another list. Now it can be seen. */
export const isKeyTaken = (error: unknown): boolean =>
  error instanceof ConstraintError && error.constraint === 'keyed_calls_pkey'

export interface EarlierCall {
  same: boolean
  subjects: string[]
  /** Whether the caller may still see the list, were it not deleted. */
  reaches: boolean
}

/** The call that the actor has made with this key; null for none. */
export async function findEarlierCall(db: Database, actor: Caller): Promise<EarlierCall | null> {
  if (!isKeyed(actor)) return null
  const [found] = await db.read(
    actor,
    sql<{ same: boolean; subjects: string; reaches: boolean }>`
      select ${isSame(actor.keyed)} as same, to_json(k.subjects)::text as subjects,
        ${actor.role === 'tenant_admin'}::boolean or exists (select from list_members m
          where m.tenant_id = k.tenant_id and m.list_id = k.list_id and m.user_id = k.user_id) as reaches
      from keyed_calls k where ${ofCaller(actor)}`,
  )
  return found ? { ...found, subjects: JSON.parse(found.subjects) as string[] } : null
}
