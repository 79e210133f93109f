/** A small app with one route of each kind, for tests of what is generated from routes. */
import { Elysia, t } from 'elysia'
import { openapi } from '../../../src/http/docs/openapi.ts'
import { operation } from '../../../src/http/docs/openapi-operation.ts'

const id = t.String({ format: 'uuid' })
const Item = t.Object(
  {
    id,
    name: t.String({ minLength: 1, maxLength: 255 }),
    note: t.Nullable(t.String()),
    quantity: t.Number({ exclusiveMinimum: 0, default: 1 }),
    status: t.Union([t.Literal('pending'), t.Literal('purchased')]),
    version: t.Integer({ minimum: 1 }),
    created_at: t.String({ format: 'date-time' }),
  },
  { $id: 'Item' },
)
const ItemPage = t.Object(
  { data: t.Array(Item), next_cursor: t.Nullable(t.String()) },
  { $id: 'ItemPage', additionalProperties: false },
)
const NewItem = t.Object(
  { name: t.String({ minLength: 1 }), quantity: t.Optional(t.Integer({ minimum: 1, default: 1 })) },
  { additionalProperties: false },
)

export const demoApi = (publicUrl: string | null = null) =>
  new Elysia()
    .use(openapi({ version: '1.2.3', publicUrl }))
    .group('/api/v1/items', (items) =>
      items
        .get(
          '/',
          () => ({ data: [], next_cursor: null }),
          operation(
            { query: t.Object({ limit: t.Optional(t.Integer({ minimum: 1, maximum: 100 })) }) },
            {
              summary: 'Items',
              tag: 'Items',
              id: 'listItems',
              ok: { status: 200, description: 'A page of them.', schema: ItemPage },
              errors: ['invalid'],
            },
          ),
        )
        .post(
          '/',
          () => 'made',
          operation(
            { body: t.Union([NewItem, t.Object({ items: t.Array(NewItem, { minItems: 1 }) })]) },
            {
              summary: 'Add items',
              tag: 'Items',
              id: 'addItems',
              request: { name: 'Milk', quantity: 2 },
              ok: { status: 201, description: 'The new item.', schema: Item },
              alsoOk: [{ status: 200, description: 'It was there already.', schema: Item }],
              errors: ['id_conflict', 'id_deleted'],
            },
          ),
        )
        .delete(
          '/:id',
          () => 'gone',
          operation(
            { params: t.Object({ id }) },
            {
              summary: 'Delete an item',
              tag: 'Items',
              id: 'deleteItem',
              ok: { status: 204, description: 'It is gone.' },
              errors: ['not_found', 'version_mismatch'],
            },
          ),
        ),
    )
    .get(
      '/healthz',
      () => 'fine',
      operation(
        {},
        {
          summary: 'Liveness',
          tag: 'Service',
          id: 'healthz',
          public: true,
          selfContained: true,
          ok: { status: 200, description: 'It lives.', schema: t.String(), mediaType: 'text/plain' },
        },
      ),
    )
    .get('/asyncapi.json', () => ({}), { detail: { hide: true } })
