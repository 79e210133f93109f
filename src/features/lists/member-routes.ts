import { Elysia } from 'elysia'
import type { Deps } from '../../deps.ts'
import { json, noContent } from '../../http/answers.ts'
import { signedIn } from '../../http/authenticate.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import { NoBody } from '../../http/fields.ts'
import { requestInfo } from '../../http/request-info.ts'
import { invite } from '../invitations/service.ts'
import { readPrecondition } from '../list-changes/precondition.ts'
import { changeMemberRole, handOver, type MemberTarget, removeMember } from './members.ts'
import * as model from './model.ts'
import { listMembers } from './reading.ts'

const tag = 'Members'

const targetOf = (
  params: { id: string; user_id: string },
  headers: Record<string, string | undefined>,
): MemberTarget => ({
  listId: params.id.toLowerCase(),
  userId: params.user_id.toLowerCase(),
  demanded: readPrecondition(headers['if-match'] ?? null),
})

export const memberRoutes = (deps: Deps) => {
  const { db, cursors } = deps
  return new Elysia({ prefix: '/api/v1/shopping-lists' })
    .use(signedIn(deps, 'customer'))
    .get(
      '/:id/members',
      async ({ actor, params, query }) =>
        json(await listMembers(db, cursors, actor, params.id.toLowerCase(), query)),
      {
        params: model.ListPath,
        query: model.PageQuery,
        detail: operation({
          tag,
          id: 'listMembers',
          summary: 'Who is on a list',
          ok: { status: 200, description: 'A page of members.', schema: model.MemberPage },
          errors: ['forbidden', 'not_found', 'invalid'],
        }),
      },
    )
    .patch(
      '/:id/members/:user_id',
      async ({ actor, params, body, headers }) => {
        const target = targetOf(params, headers)
        const changed =
          body.role === 'owner'
            ? await handOver(deps, actor, target)
            : await changeMemberRole(deps, actor, target, body.role)
        return json(changed.body)
      },
      {
        params: model.MemberPath,
        body: model.MemberChange,
        detail: operation({
          tag,
          id: 'changeMember',
          summary: "Change a member's role, or hand the list over",
          description: 'With `owner` the list goes to this member, and who owned it becomes an editor.',
          body: true,
          ok: { status: 200, description: 'As it is now.', schema: model.Member },
          errors: [
            'forbidden',
            'not_found',
            'owner_must_hand_over',
            'member_deactivated',
            'version_mismatch',
          ],
        }),
      },
    )
    .delete(
      '/:id/members/:user_id',
      async ({ actor, params, headers }) => {
        await removeMember(deps, actor, targetOf(params, headers))
        return noContent()
      },
      {
        params: model.MemberPath,
        body: NoBody,
        detail: operation({
          tag,
          id: 'removeMember',
          summary: 'Remove a member, or leave',
          body: true,
          ok: { status: 204, description: 'No longer a member.' },
          errors: ['forbidden', 'not_found', 'owner_must_hand_over', 'version_mismatch'],
        }),
      },
    )
    .post(
      '/:id/invite',
      async ({ actor, params, body, request }) => {
        const invitee = { email: body.email.toLowerCase(), role: body.role ?? ('editor' as const) }
        await deps.limits.ofInvitations(requestInfo(request), actor.userId)
        return json(await invite(deps, actor, params.id.toLowerCase(), invitee), { status: 201 })
      },
      {
        params: model.ListPath,
        body: model.Invite,
        detail: operation({
          tag,
          id: 'invite',
          summary: 'Invite a colleague',
          description: 'They get a mail with a link. The invitation works once, for them alone.',
          body: true,
          ok: { status: 201, description: 'Invited.', schema: model.Invitation },
          errors: ['forbidden', 'not_found', 'not_in_tenant', 'already_member'],
        }),
      },
    )
}
