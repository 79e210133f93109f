/** Inviting colleagues to a list, and their answers. */

import { type SQL, sql } from 'drizzle-orm'
import type { Caller } from '../../access/actor.ts'
import type { JwtSigner } from '../../access/jwt.ts'
import type { LimitedRequest, RateLimits } from '../../access/rate-limits.ts'
import { AppError, notFound } from '../../errors.ts'
import type { Outbox } from '../../mail/outbox.ts'
import { invitationMail } from '../../mail/templates.ts'
import { type AuditAction, auditStatement, by } from '../audit/entry.ts'
import { findAccount } from '../auth/accounts.ts'
import { changeList, type ListWriter } from '../list-changes/change.ts'
import { findEarlierCall, isKeyed } from '../list-changes/keyed-calls.ts'
import { refusal } from '../list-changes/refusals.ts'
import { visible } from '../list-changes/visible-lists.ts'
import { listJson, memberJson, summaryFields } from '../list-changes/wire.ts'
import type { ListAnswer } from '../lists/service.ts'
import { alreadyRedeemed, isRedeemed, redeemSteps, refuseRedeemed } from './redeeming.ts'
import { type Invitation, type InvitedRole, readInvitation, signInvitation } from './token.ts'

export interface InvitationDeps extends ListWriter {
  jwt: JwtSigner
  outbox: Outbox
  limits: RateLimits
  /** Base of the links in mails. */
  publicUrl: string
  invitationTtlHours: number
}

interface Invited {
  listName: string
  mayInvite: boolean
  invitedBy: string
  inviteeName: string | null
  isVerified: boolean | null
  isMember: boolean
}

/**
 * Signs an invitation and mails it.
 * @returns it as JSON text
 * @throws AppError not_found, forbidden, not_in_tenant (422; also for another tenant's address), already_member
 */
export async function invite(
  deps: InvitationDeps,
  actor: Caller,
  listId: string,
  { email, role, request }: { email: string; role: InvitedRole; request: LimitedRequest },
): Promise<string> {
  const [found] = await deps.db.read(
    actor,
    sql<Invited>`
      select l.name as "listName", me.full_name as "invitedBy", u.full_name as "inviteeName",
        u.email_verified as "isVerified",
        m.role is not distinct from 'owner' or ${actor.role === 'tenant_admin'}::boolean as "mayInvite",
        exists (select from list_members c
          where c.tenant_id = l.tenant_id and c.list_id = l.id and c.user_id = u.id) as "isMember"
      from shopping_lists l
      left join list_members m on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${actor.userId}
      join users me on me.tenant_id = l.tenant_id and me.id = ${actor.userId}
      left join users u on u.tenant_id = l.tenant_id and u.email = ${email} and u.is_active
      where l.tenant_id = ${actor.tenantId} and l.id = ${listId} and ${visible(actor)}`,
  )
  if (!found) throw notFound('list')
  if (!found.mayInvite) throw refusal('forbidden')
  if (found.inviteeName === null)
    throw new AppError('not_in_tenant', 'There is no active user of your tenant with this e-mail address.', {
      errors: [{ field: 'email', message: 'must belong to an active user of your tenant' }],
    })
  if (found.isMember) throw refusal('already_member')
  if (!found.isVerified) await deps.limits.ofTenantMails(request, actor.tenantId)
  const ttlSeconds = deps.invitationTtlHours * 3600
  const claims = { tenantId: actor.tenantId, listId, email, role, inviterId: actor.userId }
  const token = await signInvitation(deps.jwt, claims, ttlSeconds)
  const invitation = await readInvitation(deps.jwt, token)
  const url = `${deps.publicUrl}/invite?token=${token}`
  const { listName, invitedBy, inviteeName: fullName } = found
  const { invitationTtlHours: ttlHours } = deps
  const mail = invitationMail({
    ...{ to: { email, fullName }, listName, invitedBy, role, url, ttlHours },
    requestId: actor.requestId,
  })
  await deps.db.write(
    actor,
    ...((await deps.limits.mayMail(email)) ? [deps.outbox.queue(actor.tenantId, mail)] : []),
    auditStatement({ ...by(actor), ...invitationEntry('invitation.sent', invitation) }),
  )
  deps.outbox.wake()
  return JSON.stringify({
    token,
    list_id: listId,
    email,
    role,
    expires_at: wireTime(invitation.expiresAt),
    url,
  })
}

const invitationEntry = (action: AuditAction, { id, listId, email, role }: Invitation) => ({
  action,
  target: { type: 'list' as const, id: listId },
  details: { invitation_id: id, email, role },
})

const wireTime = (seconds: number): string => new Date(seconds * 1000).toISOString()

/** Over the list `t`: whether the inviter is active and may still invite to it. */
const mayStillInvite = (invitation: Invitation): SQL => sql`exists (
  select from users u
  join tenants on tenants.id = u.tenant_id and tenants.is_active
  left join list_members m on m.tenant_id = u.tenant_id and m.list_id = t.id and m.user_id = u.id
  where u.tenant_id = t.tenant_id and u.id = ${invitation.inviterId} and u.is_active
    and (u.role = 'tenant_admin' or m.role = 'owner'))`

/** What an invitation is for, for whoever holds its token. @throws AppError as acceptInvitation, of the invitation itself */
export async function previewInvitation(deps: InvitationDeps, token: string): Promise<string> {
  const invitation = await readInvitation(deps.jwt, token)
  await refuseRedeemed(deps.db, invitation)
  const { listId, email, role, expiresAt } = invitation
  const { name, invitedBy } = await getInvitedTo(deps, invitation)
  return JSON.stringify({
    list_id: listId,
    list_name: name,
    invited_by: invitedBy,
    email,
    role,
    expires_at: wireTime(expiresAt),
  })
}

/** The list and who invited to it. @throws AppError invitation_void (410) */
async function getInvitedTo(
  deps: InvitationDeps,
  invitation: Invitation,
): Promise<{ name: string; invitedBy: string }> {
  const { tenantId, listId, inviterId } = invitation
  const [found] = await deps.db.read(
    { tenantId },
    sql<{ name: string; invitedBy: string }>`
      select t.name, me.full_name as "invitedBy" from shopping_lists t
      join users me on me.tenant_id = t.tenant_id and me.id = ${inviterId}
      where t.tenant_id = ${tenantId} and t.id = ${listId} and t.deleted_at is null and ${mayStillInvite(invitation)}`,
  )
  if (!found) throw refusal('invitation_void')
  return found
}

/**
 * Makes the invitee a member.
 * @returns the list's summary and its version
 * @throws AppError invitation_invalid (400), invitation_expired (410), invitation_spent (409),
 *   invitation_not_for_you (403), invitation_void (410), already_member (409)
 */
export async function acceptInvitation(
  deps: InvitationDeps,
  actor: Caller,
  token: string,
): Promise<ListAnswer> {
  const invitation = await readOwnInvitation(deps, actor, token)
  try {
    const { body, tag } = await changeList(deps, joining(actor, invitation))
    return { body, tag }
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'not_found')) throw alreadyRedeemed(error)
    throw (await findEarlierCall(deps.db, actor)) ? error : refusal('invitation_void')
  }
}

/** Redeems the invitation without joining. @throws AppError as acceptInvitation, but for already_member */
export async function rejectInvitation(deps: InvitationDeps, actor: Caller, token: string): Promise<void> {
  const invitation = await readOwnInvitation(deps, actor, token)
  await getInvitedTo(deps, invitation)
  await deps.db
    .write(
      actor,
      sql`with ${redeemSteps(invitation, sql`(select) once`)} select from spent`,
      auditStatement({ ...by(actor), ...invitationEntry('invitation.rejected', invitation) }),
    )
    .catch((error: unknown) => {
      throw alreadyRedeemed(error)
    })
}

async function readOwnInvitation(deps: InvitationDeps, actor: Caller, token: string): Promise<Invitation> {
  const earlier = await findEarlierCall(deps.db, actor)
  // Whoever repeats the call that accepted it may come late.
  const invitation = await readInvitation(deps.jwt, token, { evenExpired: earlier?.same === true })
  // Where there is a key, the change itself looks at that first.
  if (!isKeyed(actor)) await refuseRedeemed(deps.db, invitation)
  const account = await findAccount(deps.db, actor.tenantId, actor.userId)
  const isTheirs =
    invitation.tenantId === actor.tenantId &&
    invitation.email === account?.email &&
    account.emailVerified &&
    account.isActive
  if (!isTheirs) throw new AppError('invitation_not_for_you', 'This invitation is for someone else.')
  return invitation
}

const joining = (actor: Caller, invitation: Invitation) => ({
  actor,
  list: sql`${invitation.listId}::uuid`,
  permission: 'invited' as const,
  what: 'list',
  reach: sql`true`,
  gone: {
    code: 'not_found' as const,
    when: sql`not exists (select from target l left join list_members m
      on m.tenant_id = l.tenant_id and m.list_id = l.id and m.user_id = ${actor.userId} where ${visible(actor)})`,
  },
  refuse: {
    invitation_spent: isRedeemed(invitation),
    invitation_void: sql`t.deleted_at is not null or not ${mayStillInvite(invitation)}`,
    already_member: sql`t.member_role is not null`,
  },
  steps: joiningSteps(actor, invitation),
  events: {
    type: 'member_joined' as const,
    payload: { member: memberJson('n', 'n') },
    rows: sql`newcomer n`,
  },
  audit: { ...invitationEntry('invitation.accepted', invitation), from: sql`joined` },
  answer: sql<ListAnswer>`coalesce(
      (select ${listJson('b', summaryFields('b', sql`j.role`, 1))} from bumped b, joined j),
      (select ${listJson('t', summaryFields('t', sql`coalesce(t.member_role, 'tenant_admin')`))} from target t)
    )::text as body, coalesce((select version from bumped), (select version from target)) as tag`,
})

function joiningSteps(actor: Caller, invitation: Invitation): SQL {
  return sql`, joined as (
      insert into list_members (tenant_id, list_id, user_id, role)
      select ok.tenant_id, ok.id, ${actor.userId}::uuid, ${invitation.role}::text from ok returning *
    ), ${redeemSteps(invitation, sql`joined`)}, newcomer as (
      select j.*, u.full_name, u.email from joined j join users u on u.tenant_id = j.tenant_id and u.id = j.user_id
    )`
}
