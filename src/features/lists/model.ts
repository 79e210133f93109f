import type { TSchema } from '@sinclair/typebox'
import { type Static, t } from 'elysia'
import type { shoppingLists } from '../../db/schema.ts'
import type { WireName } from '../../db/wire-json.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import {
  ChosenId,
  Cursor,
  Id,
  Limit,
  ListPath,
  Name,
  NoBody,
  Note,
  PathId,
  pageOf,
  QueryBoolean,
  Since,
  strict,
  Time,
} from '../../http/fields.ts'
import { historyPositionPattern } from '../../lib/history-position.ts'
import { Item } from '../items/model.ts'
import { eventTypes } from '../list-changes/events.ts'
import type { listColumns } from '../list-changes/wire.ts'

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

const listFields = {
  id: Id,
  name: t.String(),
  description: t.Union([t.String(), t.Null()]),
  owner_id: Id,
  seq: t.Integer({ description: "Number of the list's last event." }),
  version: t.Integer({ description: "Goes up with each change of the list's own fields." }),
  created_at: Time,
  updated_at: t.String({
    format: 'date-time',
    description: 'Changes with every event, those of items included.',
  }),
  deleted_at: t.Union([Time, t.Null()]),
} satisfies Record<WireName<typeof shoppingLists, typeof listColumns>, TSchema>
const ownRole = {
  role: t.Union([t.Literal('owner'), t.Literal('editor'), t.Literal('viewer'), t.Literal('tenant_admin')], {
    description: "The caller's role on this list.",
  }),
}

const EventPosition = t.String({
  pattern: historyPositionPattern.source,
  description:
    'The last event: its number and a mark that tells it from another that had the number before a restore. Send it ' +
    'as `since`.',
  examples: ['42.9f3ac01b'],
})

export const Member = t.Object(
  {
    user_id: Id,
    full_name: t.String(),
    email: t.String({ format: 'email' }),
    role: t.Union([t.Literal('owner'), t.Literal('editor'), t.Literal('viewer')]),
    joined_at: Time,
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
  { ...listFields, position: EventPosition, ...ownRole, members: t.Array(Member), items: t.Array(Item) },
  { $id: 'ListDetail' },
)
export const ListPage = pageOf(ListSummary)
export const MemberPage = pageOf(Member)

export const Event = t.Object(
  {
    type: t.Union(eventTypes.map((type) => t.Literal(type))),
    payload: t.Object(
      {
        list_id: Id,
        item: t.Optional(Item),
        changed: t.Optional(
          t.Array(t.String(), { description: 'For `item_updated`: the fields that changed.' }),
        ),
        item_id: t.Optional(Id),
        member: t.Optional(Member),
        user_id: t.Optional(Id),
        list: t.Optional(List),
      },
      { description: 'Which fields there are depends on the `type`; see /asyncapi.json.' },
    ),
    seq: t.Integer(),
    position: EventPosition,
    action_id: t.Union([Id, t.Null()], {
      description: 'Shared by the events of one request; null for events of before there were action ids.',
    }),
    at: Time,
    actor_id: Id,
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
        position: '42.9f3ac01b',
        action_id: '9c1f7a52-8c3e-4b1f-a0d7-5e226b1f0a7d',
        at: '2026-11-22T07:00:00.000Z',
        actor_id: '019ab3f0-1e4b-7c88-a1d2-5f9c3b7e6d04',
      },
    ],
  },
)
export const Events = t.Object(
  {
    data: t.Array(Event),
    seq: t.Integer({ description: 'Number of the last event.' }),
    position: EventPosition,
    complete: t.Boolean({
      description:
        'Whether `data` goes up to `seq`. False with an empty `data`: `since` is beyond it; read the list again.',
    }),
  },
  { $id: 'Events' },
)

const tag = 'Lists'

export const createList = operation(
  { body: NewList },
  {
    tag,
    id: 'createList',
    summary: 'Create a list',
    description: 'Its creator is its owner. A client that chooses the `id` may repeat the request.',
    ok: { status: 201, description: 'Created.', schema: List },
    alsoOk: [{ status: 200, description: 'It existed already.', schema: List }],
    errors: ['idempotency_conflict', 'forbidden', 'not_found', 'id_conflict', 'id_deleted', 'tenant_full'],
  },
)

export const listLists = operation(
  { query: ListsQuery },
  {
    tag,
    id: 'listLists',
    summary: 'My lists, most recently changed first',
    description:
      '`scope=all` shows a tenant admin every list of the tenant; `deleted=true` shows the deleted lists that the ' +
      'caller may restore.',
    ok: { status: 200, description: 'A page of summaries.', schema: ListPage },
    errors: ['forbidden', 'invalid'],
  },
)

const readInTurn =
  'A user may have two of these read at once; others wait for their turn, and are answered 503 `busy` after 10 seconds, ' +
  'or at once with a hundred in line.'

export const getList = operation(
  { params: ListPath },
  {
    tag,
    id: 'getList',
    summary: 'A list with its members and all its items',
    description: readInTurn,
    ok: {
      status: 200,
      description: 'The whole list.',
      schema: ListDetail,
      headers: { ETag: 'Like `"seq-42.9f3ac01b"`; send it back as `If-None-Match`.' },
    },
    alsoOk: [{ status: 304, description: 'Nothing on it has changed.' }],
    errors: ['forbidden', 'not_found', 'invalid'],
  },
)

export const changeList = operation(
  { params: ListPath, body: ListFieldsChange },
  {
    tag,
    id: 'changeList',
    summary: "Change a list's name or description",
    ok: { status: 200, description: 'As it is now.', schema: List },
    errors: ['idempotency_conflict', 'forbidden', 'not_found', 'version_mismatch', 'tenant_full'],
  },
)

export const deleteList = operation(
  { params: ListPath, body: NoBody },
  {
    tag,
    id: 'deleteList',
    summary: 'Delete a list',
    description: 'Its owner and admins can restore it.',
    ok: { status: 204, description: 'Deleted.' },
    errors: ['idempotency_conflict', 'forbidden', 'not_found', 'version_mismatch'],
  },
)

export const restoreList = operation(
  { params: ListPath, body: NoBody },
  {
    tag,
    id: 'restoreList',
    summary: 'Restore a deleted list',
    ok: { status: 200, description: 'As it is now.', schema: List },
    errors: ['idempotency_conflict', 'forbidden', 'not_found'],
  },
)

export const listEvents = operation(
  { params: ListPath, query: EventsQuery },
  {
    tag,
    id: 'listEvents',
    summary: 'The events of a list since a position',
    description: `Oldest first. \`complete\` says whether \`data\` goes up to the last event. ${readInTurn}`,
    ok: { status: 200, description: 'The events after `since`.', schema: Events },
    errors: ['forbidden', 'not_found', 'events_expired', 'history_changed', 'invalid'],
  },
)

export const listMembers = operation(
  { params: ListPath, query: PageQuery },
  {
    tag: 'Members',
    id: 'listMembers',
    summary: 'The members of a list',
    ok: { status: 200, description: 'A page of members.', schema: MemberPage },
    errors: ['forbidden', 'not_found', 'invalid'],
  },
)

export const changeMember = operation(
  { params: MemberPath, body: MemberChange },
  {
    tag: 'Members',
    id: 'changeMember',
    summary: "Change a member's role, or hand the list over",
    description: 'With `owner`, the list goes to this member and its owner becomes an editor.',
    ok: { status: 200, description: 'As it is now.', schema: Member },
    errors: [
      'idempotency_conflict',
      'forbidden',
      'not_found',
      'owner_must_hand_over',
      'member_deactivated',
      'version_mismatch',
    ],
  },
)

export const removeMember = operation(
  { params: MemberPath, body: NoBody },
  {
    tag: 'Members',
    id: 'removeMember',
    summary: 'Remove a member, or leave',
    ok: { status: 204, description: 'No longer a member.' },
    errors: ['idempotency_conflict', 'forbidden', 'not_found', 'owner_must_hand_over', 'version_mismatch'],
  },
)
