import type { TSchema } from '@sinclair/typebox'
import { type Static, t } from 'elysia'
import type { items } from '../../db/schema.ts'
import type { WireName } from '../../db/wire-json.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import {
  Category,
  ChosenId,
  Cursor,
  Id,
  Limit,
  ListPath,
  Name,
  NoBody,
  Note,
  PathId,
  Position,
  pageOf,
  Quantity,
  strict,
  Time,
  Unit,
} from '../../http/fields.ts'
import type { itemColumns } from '../list-changes/wire.ts'

type ItemColumn = WireName<typeof items, typeof itemColumns>

const Status = t.Union([t.Literal('pending'), t.Literal('purchased')], {
  expects: 'must be pending or purchased',
})

/** What a client may say of an item; each is a column of the same name. */
const settable = {
  quantity: t.Optional(Quantity),
  unit: Unit,
  note: Note,
  category: Category,
} satisfies Partial<Record<ItemColumn, TSchema>>

export const NewItem = t.Object(
  { name: Name, ...settable, position: t.Optional(Position), id: t.Optional(ChosenId) },
  strict,
)
export type NewItem = Static<typeof NewItem>

export const maxItemsPerRequest = 200

export const NewItems = t.Object(
  {
    items: t.Array(NewItem, {
      minItems: 1,
      maxItems: maxItemsPerRequest,
      expects: `must be a list of 1 to ${maxItemsPerRequest} items`,
    }),
  },
  strict,
)
export const OneOrManyItems = t.Union([NewItem, NewItems])

export const ItemChange = t.Object(
  { name: t.Optional(Name), ...settable, status: t.Optional(Status), position: t.Optional(Position) },
  strict,
)
export type ItemChange = Static<typeof ItemChange>

export const ItemQuery = t.Object({ limit: Limit, cursor: Cursor, status: t.Optional(Status) })
export type ItemQuery = Static<typeof ItemQuery>

export const ItemPath = t.Object({ id: PathId })

const text = t.Union([t.String(), t.Null()])

export const Item = t.Object(
  {
    id: Id,
    list_id: Id,
    name: t.String(),
    quantity: t.Number(),
    unit: text,
    note: text,
    category: text,
    status: Status,
    position: t.String({
      description: 'A fractional-index key: items are ordered by its bytes, then by id.',
    }),
    added_by: Id,
    updated_by: Id,
    purchased_by: t.Union([Id, t.Null()]),
    purchased_at: t.Union([Time, t.Null()]),
    version: t.Integer(),
    created_at: Time,
    updated_at: Time,
  } satisfies Record<ItemColumn, TSchema>,
  { $id: 'Item' },
)
export const ItemPage = pageOf(Item)

const OneOrManyAdded = t.Union([Item, t.Object({ data: t.Array(Item) })])

const tag = 'Items'

export const addItems = operation(
  { params: ListPath, body: OneOrManyItems },
  {
    tag,
    id: 'addItems',
    summary: 'Add an item, or up to 200 at once',
    description:
      'They go to the end unless they have a `position`. Several are added all or none. A client that chooses the `id` ' +
      'may repeat the request: the answer is then 200 with what exists, and nothing changes.',
    request: { name: 'Milk', quantity: 2, unit: 'l', category: 'Dairy' },
    ok: {
      status: 201,
      description: 'Added.',
      schema: OneOrManyAdded,
    },
    alsoOk: [{ status: 200, description: 'They existed already.', schema: OneOrManyAdded }],
    errors: [
      'idempotency_conflict',
      'not_found',
      'forbidden',
      'list_full',
      'tenant_full',
      'id_conflict',
      'id_deleted',
    ],
  },
)

export const listItems = operation(
  { params: ListPath, query: ItemQuery },
  {
    tag,
    id: 'listItems',
    summary: "A list's items, in list order",
    ok: { status: 200, description: 'A page of items.', schema: ItemPage },
    errors: ['not_found', 'forbidden', 'invalid'],
  },
)

export const clearPurchased = operation(
  { params: ListPath, body: NoBody },
  {
    tag,
    id: 'clearPurchased',
    summary: 'Delete all purchased items',
    ok: {
      status: 200,
      description: 'How many there were.',
      schema: t.Object({ deleted: t.Integer() }),
    },
    errors: ['idempotency_conflict', 'not_found', 'forbidden'],
  },
)

export const changeItem = operation(
  { params: ItemPath, body: ItemChange },
  {
    tag,
    id: 'changeItem',
    summary: 'Change, buy or move an item',
    description:
      'Only the fields that are sent change. A change that changes nothing makes no event and no new version.',
    request: { status: 'purchased' },
    ok: { status: 200, description: 'As it is now.', schema: Item },
    errors: [
      'idempotency_conflict',
      'not_found',
      'forbidden',
      'version_mismatch',
      'list_full',
      'tenant_full',
    ],
  },
)

export const deleteItem = operation(
  { params: ItemPath, body: NoBody },
  {
    tag,
    id: 'deleteItem',
    summary: 'Delete an item',
    ok: { status: 204, description: 'Deleted.' },
    errors: ['idempotency_conflict', 'not_found', 'forbidden', 'version_mismatch'],
  },
)
