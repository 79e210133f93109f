/** Who is on a list, and as what. */
import { sql } from 'drizzle-orm'
import type { Caller } from '../../access/actor.ts'
import { changeList, type ListWriter } from '../list-changes/change.ts'
import type { Precondition } from '../list-changes/precondition.ts'
import { memberJson } from '../list-changes/wire.ts'

interface Body {
  body: string
}

/** Whose membership of which list, and the caller's `If-Match`. */
export interface MemberTarget {
  listId: string
  userId: string
  demanded: Precondition | null
}

/** What all changes of one member share; `subject` is the member, with their user's name and address. */
const aboutMember = (actor: Caller, { listId, userId, demanded }: MemberTarget) => ({
  actor,
  list: sql`${listId}::uuid`,
  what: 'member',
  precondition: {
    demanded,
    version: sql`t.version`,
    current: sql`select ${memberJson('s', 's')} from subject s`,
  },
  inputs: sql`, subject as (
    select m.*, u.full_name, u.email, u.is_active from target t
    join list_members m on m.tenant_id = t.tenant_id and m.list_id = t.id
    join users u on u.tenant_id = m.tenant_id and u.id = m.user_id
    where m.tenant_id = ${actor.tenantId} and m.user_id = ${userId}
  )`,
})

const isMissing = sql`not exists (select from subject)`
const missing = { not_found: isMissing }
const gone = { code: 'not_found' as const, when: isMissing }
const missingOrOwner = { ...missing, owner_must_hand_over: sql`(select role from subject) = 'owner'` }

/** @throws AppError not_found, forbidden, version_mismatch, owner_must_hand_over */
export const changeMemberRole = (
  writer: ListWriter,
  actor: Caller,
  target: MemberTarget,
  role: 'editor' | 'viewer',
): Promise<Body> =>
  changeList(writer, {
    ...aboutMember(actor, target),
    permission: 'manage',
    gone,
    refuse: missingOrOwner,
    steps: sql`, changed as (
        update list_members m set role = ${role} from ok, subject s
        where m.tenant_id = ok.tenant_id and m.list_id = ok.id and m.user_id = s.user_id and m.role <> ${role}
        returning m.*, s.full_name, s.email
      )`,
    events: { type: 'member_updated', payload: { member: memberJson('c', 'c') }, rows: sql`changed c` },
    audit: {
      action: 'member.role_changed',
      target: { type: 'user', id: target.userId },
      details: sql`jsonb_build_object('list_id', c.list_id, 'role', jsonb_build_object('from', s.role, 'to', c.role))`,
      from: sql`changed c, subject s`,
    },
    answer: sql<Body>`coalesce((select ${memberJson('c', 'c')} from changed c),
      (select ${memberJson('s', 's')} from subject s))::text as body`,
  })

/**
 * The list goes to another member and its owner becomes an editor. To its owner, nothing changes.
 * @throws AppError not_found, forbidden, version_mismatch, member_deactivated
 */
export const handOver = (writer: ListWriter, actor: Caller, target: MemberTarget): Promise<Body> =>
  changeList(writer, {
    ...aboutMember(actor, target),
    permission: 'manage',
    gone,
    refuse: { ...missing, member_deactivated: sql`not (select is_active from subject)` },
    steps: sql`, changed as (
        update list_members m set role = case when m.user_id = s.user_id then 'owner' else 'editor' end
        from ok, subject s, users u
        where m.tenant_id = ok.tenant_id and m.list_id = ok.id and m.user_id in (s.user_id, ok.owner_id)
          and s.user_id <> ok.owner_id and u.tenant_id = m.tenant_id and u.id = m.user_id
        returning m.*, u.full_name, u.email
      )`,
    // The new owner, then the old one.
    events: {
      type: 'member_updated',
      payload: { member: memberJson('c', 'c') },
      rows: sql`changed c`,
      order: sql`c.role desc`,
    },
    own: {
      type: 'list_updated',
      when: sql`exists (select from changed)`,
      set: sql`owner_id = (select user_id from subject)`,
    },
    audit: {
      action: 'list.handed_over',
      target: { type: 'list', id: target.listId },
      details: sql`jsonb_build_object('owner_id', jsonb_build_object('from', ok.owner_id, 'to', c.user_id))`,
      from: sql`ok, changed c where c.role = 'owner'`,
    },
    answer: sql<Body>`coalesce((select ${memberJson('c', 'c')} from changed c where c.user_id = ${target.userId}),
      (select ${memberJson('s', 's')} from subject s))::text as body`,
  })

/** By the owner or an admin; anyone but the owner may remove themselves. @throws AppError as changeMemberRole */
export const removeMember = (writer: ListWriter, actor: Caller, target: MemberTarget) => {
  const isLeaving = target.userId === actor.userId
  return changeList(writer, {
    ...aboutMember(actor, target),
    permission: isLeaving ? 'see' : 'manage',
    refuse: missingOrOwner,
    steps: sql`, removed as (
        delete from list_members m using ok, subject s
        where m.tenant_id = ok.tenant_id and m.list_id = ok.id and m.user_id = s.user_id returning m.*
      )`,
    events: {
      type: isLeaving ? 'member_left' : 'member_removed',
      payload: { user_id: sql`r.user_id` },
      rows: sql`removed r`,
    },
    audit: {
      action: isLeaving ? 'member.left' : 'member.removed',
      target: { type: 'user', id: target.userId },
      details: { list_id: target.listId },
      from: sql`removed`,
    },
    done: { removed: 1 },
    answer: sql<{ removed: number }>`(select count(*)::int from removed) as removed`,
  })
}
