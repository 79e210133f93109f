import { Elysia, t } from 'elysia'
import type { Deps } from '../../deps.ts'
import { notFound } from '../../errors.ts'
import { json, noContent } from '../../http/answers.ts'
import { signedIn } from '../../http/authenticate.ts'
import { operation } from '../../http/docs/openapi-operation.ts'
import { NoBody } from '../../http/fields.ts'
import { requestInfo } from '../../http/request-info.ts'
import * as model from './model.ts'
import { changePassword } from './password-changes.ts'
import { changeProfile, getProfile } from './profile.ts'
import { endSession, listSessions } from './sign-in.ts'

const tag = 'Auth'
const user = { status: 200, description: 'The caller.', schema: model.User }

/** The caller's own account and sessions. */
export const ownAccountRoutes = (deps: Deps) =>
  new Elysia({ prefix: '/api/v1/auth' })
    .use(signedIn(deps, 'anyone'))
    .get('/me', async ({ actor }) => json(await getProfile(deps.db, actor)), {
      detail: operation({ tag, id: 'getMe', summary: 'Who am I', ok: user }),
    })
    .patch('/me', async ({ actor, body }) => json(await changeProfile(deps.db, actor, body)), {
      body: model.ProfileChange,
      detail: operation({ tag, id: 'changeMe', summary: 'Change my name', body: true, ok: user }),
    })
    .post(
      '/logout',
      async ({ actor }) => {
        await endSession(deps, actor, actor.sessionId)
        return noContent()
      },
      {
        body: NoBody,
        detail: operation({
          tag,
          id: 'logout',
          summary: 'End this session',
          body: true,
          ok: { status: 204, description: "This session's tokens and sockets have ended." },
        }),
      },
    )
    .post(
      '/change-password',
      async ({ actor, body, request }) => {
        const { current_password: current, new_password: next } = body
        await changePassword(deps, actor, { current, next, request: requestInfo(request) })
        return noContent()
      },
      {
        body: model.ChangePassword,
        detail: operation({
          tag,
          id: 'changePassword',
          summary: 'Change my password',
          body: true,
          ok: { status: 204, description: 'Changed; every other session has ended.' },
          errors: ['current_password_wrong', 'redis_unavailable'],
        }),
      },
    )
    .get('/sessions', async ({ actor }) => json(await listSessions(deps, actor)), {
      detail: operation({
        tag,
        id: 'listSessions',
        summary: 'My signed-in devices',
        ok: {
          status: 200,
          description: 'At most 50, the last used first.',
          schema: t.Object({ data: t.Array(model.SessionView), next_cursor: t.Null() }),
        },
        errors: ['redis_unavailable'],
      }),
    })
    .delete(
      '/sessions/:id',
      async ({ actor, params }) => {
        if (!(await endSession(deps, actor, params.id.toLowerCase()))) throw notFound('session')
        return noContent()
      },
      {
        params: model.SessionPath,
        body: NoBody,
        detail: operation({
          tag,
          id: 'endSession',
          summary: 'Sign a device out',
          body: true,
          ok: { status: 204, description: 'Its tokens and sockets have ended.' },
          errors: ['not_found', 'redis_unavailable'],
        }),
      },
    )
