import { Elysia } from 'elysia'
import { invalidField } from '../../errors.ts'
import { json, noContent } from '../../http/answers.ts'
import { type ActorDeps, signedIn } from '../../http/authenticate.ts'
import type { Cursors } from '../../lib/cursor.ts'
import type { ListWriter } from '../list-changes/change.ts'
import { readPrecondition } from '../list-changes/precondition.ts'
import * as model from './model.ts'
import { addItems, changeItem, clearPurchased, deleteItem, listItems } from './service.ts'

export type ItemDeps = ActorDeps & ListWriter & { cursors: Cursors }

export const listItemRoutes = (deps: ItemDeps) =>
  new Elysia({ prefix: '/api/v1/shopping-lists' })
    .use(signedIn(deps, 'customer', true))
    .post(
      '/:id/items',
      async ({ actor, params, body }) => {
        const listId = params.id
        const many = 'items' in body
        if (many) refuseRepeatedIds(body.items)
        const added = await addItems(deps, actor, listId, many ? body.items : [body], many ? 'many' : 'one')
        return json(added.body, {
          status: added.created ? 201 : 200,
          ...(added.tag === null ? {} : { tag: added.tag }),
        })
      },
      model.addItems,
    )
    .get(
      '/:id/items',
      async ({ actor, params, query }) =>
        json(await listItems(deps.db, deps.cursors, actor, params.id, query)),
      model.listItems,
    )
    .post(
      '/:id/items/clear-purchased',
      async ({ actor, params }) => {
        const { deleted } = await clearPurchased(deps, actor, params.id)
        return json(JSON.stringify({ deleted }))
      },
      model.clearPurchased,
    )

/** Two items of one request cannot have the same id. @throws AppError invalid (422) naming the later one */
function refuseRepeatedIds(items: readonly model.NewItem[]): void {
  const seen = new Set<string>()
  for (const [index, { id }] of items.entries()) {
    if (id !== undefined && seen.has(id))
      throw invalidField(`items.${index}.id`, 'is the id of an earlier item here')
    if (id !== undefined) seen.add(id)
  }
}

export const itemRoutes = (deps: ItemDeps) =>
  new Elysia({ prefix: '/api/v1/items' })
    .use(signedIn(deps, 'customer', true))
    .patch(
      '/:id',
      async ({ actor, params, body, headers }) => {
        const demanded = readPrecondition(headers['if-match'] ?? null)
        const changed = await changeItem(deps, actor, params.id, body, demanded)
        return json(changed.body, { tag: changed.tag })
      },
      model.changeItem,
    )
    .delete(
      '/:id',
      async ({ actor, params, headers }) => {
        const demanded = readPrecondition(headers['if-match'] ?? null)
        await deleteItem(deps, actor, params.id, demanded)
        return noContent()
      },
      model.deleteItem,
    )
