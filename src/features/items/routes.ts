import { Elysia, t } from 'elysia'
import type { Deps } from '../../deps.ts'
import { invalidField } from '../../errors.ts'
import { json, noContent } from '../../http/answers.ts'
import { signedIn } from '../../http/authenticate.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import { NoBody } from '../../http/fields.ts'
import { readPrecondition } from '../list-changes/precondition.ts'
import { ListPath } from '../lists/model.ts'
import * as model from './model.ts'
import { addItems, changeItem, clearPurchased, deleteItem, listItems } from './service.ts'

const tag = 'Items'
const OneOrManyAdded = t.Union([model.Item, t.Object({ data: t.Array(model.Item) })])

export const listItemRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/shopping-lists' })
    .use(signedIn(deps, 'customer'))
    .post(
      '/:id/items',
      async ({ actor, params, body }) => {
        const listId = params.id.toLowerCase()
        const many = 'items' in body
        if (many) refuseRepeatedIds(body.items)
        const added = await addItems(deps, actor, listId, many ? body.items : [body], many ? 'many' : 'one')
        return json(added.body, {
          status: added.created ? 201 : 200,
          ...(added.tag === null ? {} : { tag: added.tag }),
        })
      },
      {
        params: ListPath,
        body: model.OneOrManyItems,
        detail: operation({
          tag,
          id: 'addItems',
          summary: 'Add an item, or up to 200 at once',
          description:
            'They go last unless they bring a `position`. Several are added all or none. A client that chooses the `id` ' +
            'may repeat the request: what exists is answered with 200 and nothing changes.',
          body: true,
          request: { name: 'Milk', quantity: 2, unit: 'l', category: 'Dairy' },
          ok: {
            status: 201,
            description: 'Added.',
            schema: OneOrManyAdded,
          },
          alsoOk: [{ status: 200, description: 'They were there already.', schema: OneOrManyAdded }],
          errors: ['not_found', 'forbidden', 'list_full', 'id_conflict', 'id_deleted'],
        }),
      },
    )
    .get(
      '/:id/items',
      async ({ actor, params, query }) =>
        json(await listItems(deps.db, deps.cursors, actor, params.id.toLowerCase(), query)),
      {
        params: ListPath,
        query: model.ItemQuery,
        detail: operation({
          tag,
          id: 'listItems',
          summary: "A list's items, in list order",
          ok: { status: 200, description: 'A page of items.', schema: model.ItemPage },
          errors: ['not_found', 'forbidden', 'invalid'],
        }),
      },
    )
    .post(
      '/:id/items/clear-purchased',
      async ({ actor, params }) => {
        const { deleted } = await clearPurchased(deps, actor, params.id.toLowerCase())
        return json(JSON.stringify({ deleted }))
      },
      {
        params: ListPath,
        body: NoBody,
        detail: operation({
          tag,
          id: 'clearPurchased',
          summary: 'Delete every purchased item',
          body: true,
          ok: {
            status: 200,
            description: 'How many there were.',
            schema: t.Object({ deleted: t.Integer() }),
          },
          errors: ['not_found', 'forbidden'],
        }),
      },
    )

/** A request can't mean two items by one id. @throws AppError invalid (422) naming the later one */
function refuseRepeatedIds(items: readonly model.NewItem[]): void {
  const seen = new Set<string>()
  for (const [index, { id }] of items.entries()) {
    if (id !== undefined && seen.has(id))
      throw invalidField(`items.${index}.id`, 'is the id of an earlier item here')
    if (id !== undefined) seen.add(id)
  }
}

export const itemRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/items' })
    .use(signedIn(deps, 'customer'))
    .patch(
      '/:id',
      async ({ actor, params, body, headers }) => {
        const demanded = readPrecondition(headers['if-match'] ?? null)
        const changed = await changeItem(deps, actor, params.id.toLowerCase(), body, demanded)
        return json(changed.body, { tag: changed.tag })
      },
      {
        params: model.ItemPath,
        body: model.ItemChange,
        detail: operation({
          tag,
          id: 'changeItem',
          summary: 'Change, buy or move an item',
          description:
            'Only the fields that are sent change. A change that changes nothing makes no event and no new version.',
          body: true,
          request: { status: 'purchased' },
          ok: { status: 200, description: 'As it is now.', schema: model.Item },
          errors: ['not_found', 'forbidden', 'version_mismatch'],
        }),
      },
    )
    .delete(
      '/:id',
      async ({ actor, params, headers }) => {
        const demanded = readPrecondition(headers['if-match'] ?? null)
        await deleteItem(deps, actor, params.id.toLowerCase(), demanded)
        return noContent()
      },
      {
        params: model.ItemPath,
        body: NoBody,
        detail: operation({
          tag,
          id: 'deleteItem',
          summary: 'Delete an item',
          body: true,
          ok: { status: 204, description: 'Deleted.' },
          errors: ['not_found', 'forbidden', 'version_mismatch'],
        }),
      },
    )
