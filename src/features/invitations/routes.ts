import { Elysia } from 'elysia'
import { json, noContent } from '../../http/answers.ts'
import { type ActorDeps, signedIn } from '../../http/authenticate.ts'
import { requestInfo } from '../../http/request-info.ts'
import * as model from './model.ts'
import {
  acceptInvitation,
  type InvitationDeps,
  invite,
  previewInvitation,
  rejectInvitation,
} from './service.ts'

export const openInvitationRoutes = (deps: InvitationDeps) =>
  new Elysia({ prefix: '/api/v1/invitations' }).post(
    '/preview',
    async ({ body, request }) => {
      deps.limits.ofOpen(requestInfo(request))
      return json(await previewInvitation(deps, body.token))
    },
    model.previewInvitation,
  )

export const invitationRoutes = (deps: ActorDeps & InvitationDeps) =>
  new Elysia({ prefix: '/api/v1/invitations' })
    .use(signedIn(deps, 'customer', true))
    .post(
      '/accept',
      async ({ actor, body }) => {
        const { body: summary, tag } = await acceptInvitation(deps, actor, body.token)
        return json(summary, { tag })
      },
      model.acceptInvitation,
    )
    .post(
      '/reject',
      async ({ actor, body }) => {
        await rejectInvitation(deps, actor, body.token)
        return noContent()
      },
      model.rejectInvitation,
    )

export const inviteRoutes = (deps: ActorDeps & InvitationDeps) =>
  new Elysia({ prefix: '/api/v1/shopping-lists' }).use(signedIn(deps, 'customer')).post(
    '/:id/invite',
    async ({ actor, params, body, request }) => {
      const info = requestInfo(request)
      await deps.limits.ofInvitations(info, actor.userId)
      const invitee = { email: body.email, role: body.role ?? ('editor' as const), request: info }
      return json(await invite(deps, actor, params.id, invitee), { status: 201 })
    },
    model.invite,
  )
