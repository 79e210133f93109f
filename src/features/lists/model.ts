import { type Static, t } from 'elysia'
import {
  ChosenId,
  Cursor,
  Email,
  Limit,
  Name,
  Note,
  PathId,
  QueryBoolean,
  Since,
  strict,
  Token,
} from '../../http/fields.ts'
import { Item } from '../items/model.ts'

export const NewList = t.Object({ name: Name, description: Note, id: t.Optional(ChosenId) }, strict)
export type NewList = Static<typeof NewList>

export const ListFieldsChange = t.Object({ name: t.Optional(Name), description: Note }, strict)
export type ListFieldsChange = Static<typeof ListFieldsChange>

export const ListsQuery = t.Object({
  limit: Limit,
  cursor: Cursor,
  scope: t.Optional(t.Literal('all', { expects: 'must be all, or left out' })),
  deleted: QueryBoolean,
})
export type ListsQuery = Static<typeof ListsQuery>

export const ListPath = t.Object({ id: PathId })
export const MemberPath = t.Object({ id: PathId, user_id: PathId })
export const PageQuery = t.Object({ limit: Limit, cursor: Cursor })
export type PageQuery = Static<typeof PageQuery>
export const EventsQuery = t.Object({ since: Since, limit: Limit })
export type EventsQuery = Static<typeof EventsQuery>

export const MemberChange = t.Object(
  {
    role: t.Union([t.Literal('editor'), t.Literal('viewer'), t.Literal('owner')], {
      expects: 'must be editor, viewer or owner',
    }),
  },
  strict,
)
export type MemberChange = Static<typeof MemberChange>

const InvitedRole = t.Union([t.Literal('editor'), t.Literal('viewer')], {
  expects: 'must be editor or viewer',
})
export const Invite = t.Object({ email: Email, role: t.Optional(InvitedRole) }, strict)
export const InvitationToken = t.Object({ token: Token }, strict)

const id = t.String({ format: 'uuid' })
const time = t.String({ format: 'date-time' })

const listFields = {
  id,
  name: t.String(),
  description: t.Union([t.String(), t.Null()]),
  owner_id: id,
  seq: t.Integer({ description: "Number of the list's last event." }),
  version: t.Integer({ description: 'Goes up with each change of the fields of the list itself.' }),
  created_at: time,
  updated_at: t.String({ format: 'date-time', description: 'Moves with every change, of items too.' }),
  deleted_at: t.Union([time, t.Null()]),
}
const ownRole = {
  role: t.Union([t.Literal('owner'), t.Literal('editor'), t.Literal('viewer'), t.Literal('tenant_admin')], {
    description: 'What the caller is on this list.',
  }),
}

export const Member = t.Object(
  {
    user_id: id,
    full_name: t.String(),
    email: t.String({ format: 'email' }),
    role: t.Union([t.Literal('owner'), t.Literal('editor'), t.Literal('viewer')]),
    joined_at: time,
  },
  { $id: 'Member' },
)
export const List = t.Object(listFields, { $id: 'List' })
export const ListSummary = t.Object(
  {
    ...listFields,
    ...ownRole,
    item_count: t.Integer(),
    pending_count: t.Integer(),
    member_count: t.Integer(),
  },
  { $id: 'ListSummary' },
)
export const ListDetail = t.Object(
  { ...listFields, ...ownRole, members: t.Array(Member), items: t.Array(Item) },
  { $id: 'ListDetail' },
)
export const ListPage = t.Object({ data: t.Array(ListSummary), next_cursor: t.Union([t.String(), t.Null()]) })
export const MemberPage = t.Object({ data: t.Array(Member), next_cursor: t.Union([t.String(), t.Null()]) })

export const Event = t.Object(
  {
    type: t.Union(
      [
        'item_added',
        'item_updated',
        'item_deleted',
        'member_joined',
        'member_updated',
        'member_left',
        'member_removed',
        'list_updated',
        'list_deleted',
        'list_restored',
      ].map((type) => t.Literal(type)),
    ),
    payload: t.Object(
      {
        list_id: id,
        item: t.Optional(Item),
        changed: t.Optional(t.Array(t.String(), { description: 'Of `item_updated`: the fields that did.' })),
        item_id: t.Optional(id),
        member: t.Optional(Member),
        user_id: t.Optional(id),
        list: t.Optional(List),
      },
      { description: 'Which of them there are depends on the `type`; /asyncapi.json says it for each.' },
    ),
    seq: t.Integer(),
    at: time,
    actor_id: id,
  },
  {
    $id: 'Event',
    examples: [
      {
        type: 'item_deleted',
        payload: {
          list_id: '019ab3f4-7c21-7d0e-9b6a-2f5c8e1d4a70',
          item_id: '019ab3f4-9d10-7a52-8c3e-6b1f0a7d5e22',
        },
        seq: 42,
        at: '2026-11-22T07:00:00.000Z',
        actor_id: '019ab3f0-1e4b-7c88-a1d2-5f9c3b7e6d04',
      },
    ],
  },
)
export const Events = t.Object(
  {
    data: t.Array(Event),
    seq: t.Integer({ description: 'Number of the last event there is.' }),
    complete: t.Boolean({
      description:
        'Whether `data` goes up to `seq`. False with nothing in `data`: `since` is beyond it; read the list anew.',
    }),
  },
  { $id: 'Events' },
)

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
