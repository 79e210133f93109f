/** Who is on a list, and as what. */
import { type SQL, sql } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { listJson, memberJson } from '../../db/wire.ts'
import type { Actor } from '../auth/actor.ts'
import { changeList } from './change.ts'
import type { Precondition } from './precondition.ts'

interface Body {
  body: string
}

const unchangedSince = (demanded: Precondition | null) => ({
  demanded,
  version: sql`t.version`,
  current: sql`select ${memberJson('s', 's')} from subject s`,
})

/** The member in question, with the names of his user. */
const theMember = (actor: Actor, userId: string): SQL => sql`, subject as (
    select m.*, u.full_name, u.email, u.is_active from target t
    join list_members m on m.tenant_id = t.tenant_id and m.list_id = t.id
    join users u on u.tenant_id = m.tenant_id and u.id = m.user_id
    where m.tenant_id = ${actor.tenantId} and m.user_id = ${userId}
  )`

/** @throws AppError not_found, forbidden, version_mismatch, owner_must_hand_over */
export const changeMemberRole = (
  db: Database,
  actor: Actor,
  listId: string,
  userId: string,
  role: 'editor' | 'viewer',
  demanded: Precondition | null,
): Promise<Body> =>
  changeList(db, {
    actor,
    list: sql`${listId}::uuid`,
    permission: 'manage',
    what: 'member',
    precondition: unchangedSince(demanded),
    inputs: theMember(actor, userId),
    refuse: sql`case when not exists (select from subject) then 'not_found'
      when (select role from subject) = 'owner' then 'owner_must_hand_over' end`,
    steps: sql`, changed as (
        update list_members m set role = ${role} from ok, subject s
        where m.tenant_id = ok.tenant_id and m.list_id = ok.id and m.user_id = s.user_id and m.role <> ${role}
        returning m.*, s.full_name, s.email
      )`,
    eventCount: sql`select count(*) from changed`,
    events: sql`select 1, 'member_updated', jsonb_build_object('member', ${memberJson('c', 'c')}) from changed c`,
    answer: sql<Body>`coalesce((select ${memberJson('c', 'c')} from changed c),
      (select ${memberJson('s', 's')} from subject s))::text as body`,
  })

/**
 * The list goes to another member; who owned it becomes an editor. To the owner himself it changes nothing.
 * @throws AppError not_found, forbidden, version_mismatch, member_deactivated
 */
export const handOver = (
  db: Database,
  actor: Actor,
  listId: string,
  userId: string,
  demanded: Precondition | null,
): Promise<Body> =>
  changeList(db, {
    actor,
    list: sql`${listId}::uuid`,
    permission: 'manage',
    what: 'member',
    precondition: unchangedSince(demanded),
    inputs: theMember(actor, userId),
    refuse: sql`case when not exists (select from subject) then 'not_found'
      when not (select is_active from subject) then 'member_deactivated' end`,
    steps: sql`, changed as (
        update list_members m set role = case when m.user_id = s.user_id then 'owner' else 'editor' end
        from ok, subject s, users u
        where m.tenant_id = ok.tenant_id and m.list_id = ok.id and m.user_id in (s.user_id, ok.owner_id)
          and s.user_id <> ok.owner_id and u.tenant_id = m.tenant_id and u.id = m.user_id
        returning m.*, u.full_name, u.email
      )`,
    eventCount: sql`select case when count(*) > 0 then count(*) + 1 else 0 end from changed`,
    set: sql`, owner_id = (select user_id from subject), version = l.version + 1`,
    // The new owner, then the old one, then the list.
    events: sql`select row_number() over (order by c.role desc), 'member_updated',
        jsonb_build_object('member', ${memberJson('c', 'c')}) from changed c
      union all select 3, 'list_updated', jsonb_build_object('list', ${listJson('b')}) from bumped b`,
    answer: sql<Body>`coalesce((select ${memberJson('c', 'c')} from changed c where c.user_id = ${userId}),
      (select ${memberJson('s', 's')} from subject s))::text as body`,
  })

/** By the owner or an admin; or, of oneself, by anyone but the owner. @throws AppError as changeMemberRole */
export const removeMember = (
  db: Database,
  actor: Actor,
  listId: string,
  userId: string,
  demanded: Precondition | null,
) =>
  changeList(db, {
    actor,
    list: sql`${listId}::uuid`,
    permission: userId === actor.userId ? 'see' : 'manage',
    what: 'member',
    precondition: unchangedSince(demanded),
    inputs: theMember(actor, userId),
    refuse: sql`case when not exists (select from subject) then 'not_found'
      when (select role from subject) = 'owner' then 'owner_must_hand_over' end`,
    steps: sql`, removed as (
        delete from list_members m using ok, subject s
        where m.tenant_id = ok.tenant_id and m.list_id = ok.id and m.user_id = s.user_id returning m.*
      )`,
    eventCount: sql`select count(*) from removed`,
    events: sql`select 1, ${userId === actor.userId ? 'member_left' : 'member_removed'}::text,
      jsonb_build_object('user_id', r.user_id) from removed r`,
    answer: sql<{ removed: number }>`(select count(*)::int from removed) as removed`,
  })
