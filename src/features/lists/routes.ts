import { Elysia } from 'elysia'
import type { Actor } from '../../access/actor.ts'
import type { ReadingLines } from '../../access/reading-lines.ts'
import { json, noContent, notModified } from '../../http/answers.ts'
import { type ActorDeps, signedIn } from '../../http/authenticate.ts'
import { answerInPlace } from '../../http/handing-over.ts'
import type { Cursors } from '../../lib/cursor.ts'
import type { ListWriter } from '../list-changes/change.ts'
import { type KnownPositions, readKnownPositions, readPrecondition } from '../list-changes/precondition.ts'
import { changeMemberRole, handOver, type MemberTarget, removeMember } from './members.ts'
import * as model from './model.ts'
import { getList, listEvents, listLists, listMembers } from './reading.ts'
import { changeListFields, createList, deleteList, restoreList } from './service.ts'

export type ListDeps = ActorDeps & ListWriter & { cursors: Cursors; lines: ReadingLines }

export const listRoutes = (deps: ListDeps) => {
  const { db, cursors, lines } = deps
  return new Elysia({ prefix: '/api/v1/shopping-lists' })
    .use(signedIn(deps, 'customer', true))
    .post(
      '/',
      async ({ actor, body }) => {
        const { body: text, tag, created } = await createList(deps, actor, body)
        return json(text, { status: created ? 201 : 200, tag })
      },
      model.createList,
    )
    .get('/', async ({ actor, query }) => json(await listLists(db, cursors, actor, query)), model.listLists)
    .get(
      '/:id',
      ({ actor, params, headers, request }) =>
        wholeList(deps, actor, params.id, readKnownPositions(headers['if-none-match'] ?? null), request),
      model.getList,
    )
    .patch(
      '/:id',
      async ({ actor, params, body, headers }) => {
        const demanded = readPrecondition(headers['if-match'] ?? null)
        const changed = await changeListFields(deps, actor, params.id, body, demanded)
        return json(changed.body, { tag: changed.tag })
      },
      model.changeList,
    )
    .delete(
      '/:id',
      async ({ actor, params, headers }) => {
        await deleteList(deps, actor, params.id, readPrecondition(headers['if-match'] ?? null))
        return noContent()
      },
      model.deleteList,
    )
    .post(
      '/:id/restore',
      async ({ actor, params }) => {
        const restored = await restoreList(deps, actor, params.id)
        return json(restored.body, { tag: restored.tag })
      },
      model.restoreList,
    )
    .get(
      '/:id/events',
      async ({ actor, params, query, request }) => {
        const place = await lines.replays.enter(actor, request.signal)
        const find = async () => ({ body: await listEvents(db, actor, params.id, query) })
        return await answerInPlace(place, request, find, (body) => json(body))
      },
      model.listEvents,
    )
}

/** Who has the list already need not wait in line to hear so. @throws AppError not_found, busy */
async function wholeList(
  { db, lines }: ListDeps,
  actor: Actor,
  listId: string,
  known: KnownPositions,
  request: Request,
): Promise<Response> {
  let place = known === 'any' ? null : lines.lists.enterNow(actor, request.signal)
  if (place === null && known.length > 0) {
    const { position } = await getList(db, actor, listId, 'any')
    const tag = `seq-${position}`
    if (known === 'any' || known.includes(tag)) return notModified(tag)
  }
  place ??= await lines.lists.enter(actor, request.signal)
  const find = () => getList(db, actor, listId, known)
  return await answerInPlace(place, request, find, (body, { position }) =>
    body === null ? notModified(`seq-${position}`) : json(body, { tag: `seq-${position}` }),
  )
}

export const memberRoutes = (deps: ListDeps) =>
  new Elysia({ prefix: '/api/v1/shopping-lists' })
    .use(signedIn(deps, 'customer', true))
    .get(
      '/:id/members',
      async ({ actor, params, query }) =>
        json(await listMembers(deps.db, deps.cursors, actor, params.id, query)),
      model.listMembers,
    )
    .patch(
      '/:id/members/:user_id',
      async ({ actor, params, body, headers }) => {
        const target = targetOf(params, headers)
        const changed =
          body.role === 'owner'
            ? await handOver(deps, actor, target)
            : await changeMemberRole(deps, actor, target, body.role)
        return json(changed.body)
      },
      model.changeMember,
    )
    .delete(
      '/:id/members/:user_id',
      async ({ actor, params, headers }) => {
        await removeMember(deps, actor, targetOf(params, headers))
        return noContent()
      },
      model.removeMember,
    )

const targetOf = (
  params: { id: string; user_id: string },
  headers: Record<string, string | undefined>,
): MemberTarget => ({
  listId: params.id,
  userId: params.user_id,
  demanded: readPrecondition(headers['if-match'] ?? null),
})
