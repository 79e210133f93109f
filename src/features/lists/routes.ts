import { Elysia } from 'elysia'
import type { Deps } from '../../deps.ts'
import { json, noContent, notModified } from '../../http/answers.ts'
import { signedIn } from '../../http/authenticate.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import { NoBody } from '../../http/fields.ts'
import { readKnownSeqs, readPrecondition } from '../list-changes/precondition.ts'
import * as model from './model.ts'
import { getList, listEvents, listLists } from './reading.ts'
import { changeListFields, createList, deleteList, restoreList } from './service.ts'

const tag = 'Lists'

export const listRoutes = (deps: Deps) => {
  const { db, cursors } = deps
  return new Elysia({ prefix: '/api/v1/shopping-lists' })
    .use(signedIn(deps, 'customer'))
    .post(
      '/',
      async ({ actor, body }) => {
        const { body: text, tag, created } = await createList(db, actor, body)
        return json(text, { status: created ? 201 : 200, tag })
      },
      {
        body: model.NewList,
        detail: operation({
          tag,
          id: 'createList',
          summary: 'Start a list',
          description: 'Its creator is its owner. A client that chooses the `id` may repeat the request.',
          body: true,
          ok: { status: 201, description: 'Made.', schema: model.List },
          alsoOk: [{ status: 200, description: 'It was there already.', schema: model.List }],
          errors: ['forbidden', 'id_conflict', 'id_deleted'],
        }),
      },
    )
    .get('/', async ({ actor, query }) => json(await listLists(db, cursors, actor, query)), {
      query: model.ListsQuery,
      detail: operation({
        tag,
        id: 'listLists',
        summary: 'My lists, the last changed first',
        description:
          '`scope=all` shows a tenant admin every list of the tenant; `deleted=true` the deleted ones that the caller ' +
          'may restore.',
        ok: { status: 200, description: 'A page of summaries.', schema: model.ListPage },
        errors: ['forbidden', 'invalid'],
      }),
    })
    .get(
      '/:id',
      async ({ actor, params, headers }) => {
        const known = readKnownSeqs(headers['if-none-match'] ?? null)
        const { body, seq } = await getList(db, actor, params.id.toLowerCase(), known)
        return body === null ? notModified(`seq-${seq}`) : json(body, { tag: `seq-${seq}` })
      },
      {
        params: model.ListPath,
        detail: operation({
          tag,
          id: 'getList',
          summary: 'A list with its members and all its items',
          ok: {
            status: 200,
            description: 'The whole list.',
            schema: model.ListDetail,
            headers: { ETag: 'Like `"seq-42"`; send it back as `If-None-Match`.' },
          },
          alsoOk: [{ status: 304, description: 'Nothing on it has changed.' }],
          errors: ['forbidden', 'not_found', 'invalid'],
        }),
      },
    )
    .patch(
      '/:id',
      async ({ actor, params, body, headers }) => {
        const demanded = readPrecondition(headers['if-match'] ?? null)
        const changed = await changeListFields(deps, actor, params.id.toLowerCase(), body, demanded)
        return json(changed.body, { tag: changed.tag })
      },
      {
        params: model.ListPath,
        body: model.ListFieldsChange,
        detail: operation({
          tag,
          id: 'changeList',
          summary: 'Rename a list or describe it',
          body: true,
          ok: { status: 200, description: 'As it is now.', schema: model.List },
          errors: ['forbidden', 'not_found', 'version_mismatch'],
        }),
      },
    )
    .delete(
      '/:id',
      async ({ actor, params, headers }) => {
        await deleteList(deps, actor, params.id.toLowerCase(), readPrecondition(headers['if-match'] ?? null))
        return noContent()
      },
      {
        params: model.ListPath,
        body: NoBody,
        detail: operation({
          tag,
          id: 'deleteList',
          summary: 'Delete a list',
          description: 'Its owner and admins can restore it.',
          body: true,
          ok: { status: 204, description: 'Deleted.' },
          errors: ['forbidden', 'not_found', 'version_mismatch'],
        }),
      },
    )
    .post(
      '/:id/restore',
      async ({ actor, params }) => {
        const restored = await restoreList(deps, actor, params.id.toLowerCase())
        return json(restored.body, { tag: restored.tag })
      },
      {
        params: model.ListPath,
        body: NoBody,
        detail: operation({
          tag,
          id: 'restoreList',
          summary: 'Bring a deleted list back',
          body: true,
          ok: { status: 200, description: 'As it is now.', schema: model.List },
          errors: ['forbidden', 'not_found'],
        }),
      },
    )
    .get(
      '/:id/events',
      async ({ actor, params, query }) => json(await listEvents(db, actor, params.id.toLowerCase(), query)),
      {
        params: model.ListPath,
        query: model.EventsQuery,
        detail: operation({
          tag,
          id: 'listEvents',
          summary: 'What has happened on a list since',
          description: 'Oldest first. `complete` says whether `data` goes up to the last event.',
          ok: { status: 200, description: 'The events after `since`.', schema: model.Events },
          errors: ['forbidden', 'not_found', 'events_expired', 'invalid'],
        }),
      },
    )
}
