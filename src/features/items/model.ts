import { type Static, t } from 'elysia'
import {
  Category,
  ChosenId,
  Cursor,
  Limit,
  Name,
  Note,
  PathId,
  Position,
  Quantity,
  strict,
  Unit,
} from '../../http/fields.ts'

const Status = t.Union([t.Literal('pending'), t.Literal('purchased')], {
  expects: 'must be pending or purchased',
})

export const NewItem = t.Object(
  {
    name: Name,
    quantity: t.Optional(Quantity),
    unit: Unit,
    note: Note,
    category: Category,
    position: t.Optional(Position),
    id: t.Optional(ChosenId),
  },
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
  {
    name: t.Optional(Name),
    quantity: t.Optional(Quantity),
    unit: Unit,
    note: Note,
    category: Category,
    status: t.Optional(Status),
    position: t.Optional(Position),
  },
  strict,
)
export type ItemChange = Static<typeof ItemChange>

export const ItemQuery = t.Object({ limit: Limit, cursor: Cursor, status: t.Optional(Status) })
export type ItemQuery = Static<typeof ItemQuery>

export const ItemPath = t.Object({ id: PathId })

const id = t.String({ format: 'uuid' })
const time = t.String({ format: 'date-time' })
const text = t.Union([t.String(), t.Null()])

export const Item = t.Object(
  {
    id,
    list_id: id,
    name: t.String(),
    quantity: t.Number(),
    unit: text,
    note: text,
    category: text,
    status: Status,
    position: t.String({
      description: 'A fractional-index key: items are in the order of its bytes, then of ids.',
    }),
    added_by: id,
    updated_by: id,
    purchased_by: t.Union([id, t.Null()]),
    purchased_at: t.Union([time, t.Null()]),
    version: t.Integer(),
    created_at: time,
    updated_at: time,
  },
  { $id: 'Item' },
)
export const ItemPage = t.Object({ data: t.Array(Item), next_cursor: t.Union([t.String(), t.Null()]) })
