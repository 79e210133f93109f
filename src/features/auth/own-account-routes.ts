import { Elysia } from 'elysia'
import { notFound } from '../../errors.ts'
import { json, noContent } from '../../http/answers.ts'
import { type ActorDeps, signedIn } from '../../http/authenticate.ts'
import { requestInfo } from '../../http/request-info.ts'
import * as model from './model.ts'
import { changePassword, type PasswordDeps } from './password-changes.ts'
import { changeProfile, getProfile } from './profile.ts'
import { endSession, listSessions } from './sign-in.ts'

/** The caller's own account and sessions. */
export const ownAccountRoutes = (deps: ActorDeps & PasswordDeps) =>
  new Elysia({ prefix: '/api/v1/auth' })
    .use(signedIn(deps, 'anyone'))
    .get('/me', async ({ actor }) => json(await getProfile(deps.db, actor)), model.getMe)
    .patch('/me', async ({ actor, body }) => json(await changeProfile(deps.db, actor, body)), model.changeMe)
    .post(
      '/logout',
      async ({ actor }) => {
        await endSession(deps, actor, actor.sessionId)
        return noContent()
      },
      model.logout,
    )
    .post(
      '/change-password',
      async ({ actor, body, request }) => {
        const { current_password: current, new_password: next } = body
        await changePassword(deps, actor, { current, next, request: requestInfo(request) })
        return noContent()
      },
      model.changePassword,
    )
    .get('/sessions', async ({ actor }) => json(await listSessions(deps, actor)), model.listSessions)
    .delete(
      '/sessions/:id',
      async ({ actor, params }) => {
        if (!(await endSession(deps, actor, params.id))) throw notFound('session')
        return noContent()
      },
      model.endSession,
    )
