import { t } from 'elysia'
import { operation } from '../../http/docs/openapi-operation.ts'
import { Email, ListPath, strict, Token } from '../../http/fields.ts'
import { ListSummary } from '../lists/model.ts'

const InvitedRole = t.Union([t.Literal('editor'), t.Literal('viewer')], {
  expects: 'must be editor or viewer',
})
export const Invite = t.Object({ email: Email, role: t.Optional(InvitedRole) }, strict)
export const InvitationToken = t.Object({ token: Token }, strict)

const id = t.String({ format: 'uuid' })
const time = t.String({ format: 'date-time' })

const invitationFields = {
  list_id: id,
  email: t.String({ format: 'email' }),
  role: InvitedRole,
  expires_at: time,
}
export const Invitation = t.Object(
  { ...invitationFields, token: t.String(), url: t.String({ format: 'uri' }) },
  { $id: 'Invitation' },
)
export const InvitationPreview = t.Object(
  { ...invitationFields, list_name: t.String(), invited_by: t.String() },
  { $id: 'InvitationPreview' },
)

const tag = 'Invitations'

export const previewInvitation = {
  body: InvitationToken,
  detail: operation({
    tag,
    id: 'previewInvitation',
    summary: 'Preview an invitation',
    public: true,
    limited: false,
    body: true,
    ok: { status: 200, description: 'What it is for.', schema: InvitationPreview },
    errors: ['invitation_invalid', 'invitation_expired', 'invitation_spent', 'invitation_void'],
  }),
}

export const acceptInvitation = {
  body: InvitationToken,
  detail: operation({
    tag,
    id: 'acceptInvitation',
    summary: 'Join a list',
    body: true,
    ok: { status: 200, description: 'Joined: the list.', schema: ListSummary },
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
}

export const rejectInvitation = {
  body: InvitationToken,
  detail: operation({
    tag,
    id: 'rejectInvitation',
    summary: 'Decline an invitation',
    body: true,
    ok: { status: 204, description: 'Declined; the invitation is used up.' },
    errors: [
      'invitation_invalid',
      'invitation_expired',
      'invitation_spent',
      'invitation_not_for_you',
      'invitation_void',
      'forbidden',
    ],
  }),
}

export const invite = {
  params: ListPath,
  body: Invite,
  detail: operation({
    tag: 'Members',
    id: 'invite',
    summary: 'Invite a colleague',
    description: 'They get a mail with a link. The invitation works once, for them alone.',
    body: true,
    ok: { status: 201, description: 'Invited.', schema: Invitation },
    errors: ['forbidden', 'not_found', 'not_in_tenant', 'already_member'],
  }),
}
