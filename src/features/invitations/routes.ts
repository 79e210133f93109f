import { Elysia } from 'elysia'
import type { Deps } from '../../deps.ts'
import { json, noContent } from '../../http/answers.ts'
import { signedIn } from '../../http/authenticate.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import * as model from '../lists/model.ts'
import { acceptInvitation, previewInvitation, rejectInvitation } from './service.ts'

const tag = 'Invitations'

export const openInvitationRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/invitations' }).post(
    '/preview',
    async ({ body }) => json(await previewInvitation(deps, body.token)),
    {
      body: model.InvitationToken,
      detail: operation({
        tag,
        id: 'previewInvitation',
        summary: 'See what an invitation is about',
        public: true,
        limited: false,
        body: true,
        ok: { status: 200, description: 'What it says.', schema: model.InvitationPreview },
        errors: ['invitation_invalid', 'invitation_expired', 'invitation_spent', 'invitation_void'],
      }),
    },
  )

export const invitationRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/invitations' })
    .use(signedIn(deps, 'customer'))
    .post(
      '/accept',
      async ({ actor, body }) => {
        const { body: summary, tag } = await acceptInvitation(deps, actor, body.token)
        return json(summary, { tag })
      },
      {
        body: model.InvitationToken,
        detail: operation({
          tag,
          id: 'acceptInvitation',
          summary: 'Join a list',
          body: true,
          ok: { status: 200, description: 'Joined: the list.', schema: model.ListSummary },
          errors: [
            'invitation_invalid',
            'invitation_expired',
            'invitation_spent',
            'invitation_not_for_you',
            'invitation_void',
            'already_member',
            'forbidden',
          ],
        }),
      },
    )
    .post(
      '/reject',
      async ({ actor, body }) => {
        await rejectInvitation(deps, actor, body.token)
        return noContent()
      },
      {
        body: model.InvitationToken,
        detail: operation({
          tag,
          id: 'rejectInvitation',
          summary: 'Turn an invitation down',
          body: true,
          ok: { status: 204, description: 'It is spent.' },
          errors: [
            'invitation_invalid',
            'invitation_expired',
            'invitation_spent',
            'invitation_not_for_you',
            'invitation_void',
            'forbidden',
          ],
        }),
      },
    )
