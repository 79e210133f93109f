import { t } from 'elysia'
import { operation } from '../../http/docs/openapi-operation.ts'
import { Email, Id, ListPath, strict, Time, Token } from '../../http/fields.ts'
import { ListSummary } from '../lists/model.ts'

const InvitedRole = t.Union([t.Literal('editor'), t.Literal('viewer')], {
  expects: 'must be editor or viewer',
})
export const Invite = t.Object({ email: Email, role: t.Optional(InvitedRole) }, strict)
export const InvitationToken = t.Object({ token: Token }, strict)

const invitationFields = {
  list_id: Id,
  email: t.String({ format: 'email' }),
  role: InvitedRole,
  expires_at: Time,
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

export const previewInvitation = operation(
  { body: InvitationToken },
  {
    tag,
    id: 'previewInvitation',
    summary: 'Preview an invitation',
    public: true,
    ok: { status: 200, description: 'What it is for.', schema: InvitationPreview },
    errors: ['invitation_invalid', 'invitation_expired', 'invitation_spent', 'invitation_void'],
  },
)

export const acceptInvitation = operation(
  { body: InvitationToken },
  {
    tag,
    id: 'acceptInvitation',
    summary: 'Join a list',
    ok: { status: 200, description: 'Joined: the list.', schema: ListSummary },
    errors: [
      'idempotency_conflict',
      'not_found',
      'invitation_invalid',
      'invitation_expired',
      'invitation_spent',
      'invitation_not_for_you',
      'invitation_void',
      'already_member',
      'forbidden',
    ],
  },
)

export const rejectInvitation = operation(
  { body: InvitationToken },
  {
    tag,
    id: 'rejectInvitation',
    summary: 'Decline an invitation',
    ok: { status: 204, description: 'Declined; the invitation is used up.' },
    errors: [
      'invitation_invalid',
      'invitation_expired',
      'invitation_spent',
      'invitation_not_for_you',
      'invitation_void',
      'forbidden',
    ],
  },
)

export const invite = operation(
  { params: ListPath, body: Invite },
  {
    tag: 'Members',
    id: 'invite',
    summary: 'Invite a colleague',
    description: 'They get a mail with a link. The invitation works once, for them alone.',
    ok: { status: 201, description: 'Invited.', schema: Invitation },
    errors: ['forbidden', 'not_found', 'not_in_tenant', 'already_member'],
  },
)
