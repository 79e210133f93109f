/** Without Redis, exactly the routes whose API documentation says so answer redis_unavailable: every route is called. */
import { expect, test } from 'bun:test'
import { createDocumentedApp } from '../../src/app.ts'
import { openapiDocument } from '../../src/http/docs/openapi.ts'
import { everyone, type Rule, table } from '../access/permissions/table.ts'
import { call, isPublic, makeTarget, makeWorld, routes, type World } from '../access/permissions/world.ts'
import { createClient } from '../support/client.ts'
import { isRecord } from '../support/json-schema.ts'
import type { Person } from '../support/people.ts'
import { describePrivateRedis, startRedis } from '../support/redis.ts'
import { startServer } from '../support/server.ts'
import { until } from '../support/until.ts'

async function documentedRoutes(): Promise<string[]> {
  const document: object = await openapiDocument(createDocumentedApp())
  const paths = 'paths' in document && isRecord(document.paths) ? Object.entries(document.paths) : []
  return paths
    .flatMap(([path, operations]) =>
      Object.entries(isRecord(operations) ? operations : {})
        .filter(([, operation]) => JSON.stringify(operation).includes('"redis_unavailable":'))
        .map(([method]) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
    )
    .sort()
}

/** Bodies for the unauthenticated routes, valid enough to be carried out. */
const publicBodies = ({ email, password, refreshToken, id }: Person, tenantId: string) => ({
  'POST /api/v1/auth/login': { email, password },
  'POST /api/v1/auth/verify-email': { email, otp: '123456' },
  'POST /api/v1/auth/resend-otp': { email },
  'POST /api/v1/auth/refresh': { refresh_token: refreshToken },
  'POST /api/v1/auth/forgot-password': { email },
  'POST /api/v1/auth/reset-password': { token: `${tenantId}.${id}.1.secret`, new_password: `${password}!` },
})

const changePassword = 'POST /api/v1/auth/change-password'
const previewInvitation = 'POST /api/v1/invitations/preview'

/** The calls of the permissions table, each on its own target, by a caller with the best status. */
const preparedCalls = (world: World) =>
  Promise.all(
    table.map(async (rule) => {
      const target = await makeTarget(world, rule.given)
      const [who] = everyone.toSorted((one, other) => rule.statuses[one] - rule.statuses[other])
      if (who === undefined) throw new Error('no one to call')
      const caller = world.people[who]
      const passwords = { current_password: caller.password, new_password: `${caller.password}!` }
      const body = rule.route === changePassword ? { body: () => passwords } : {}
      const asked: Rule = { ...rule, ...body }
      return { route: rule.route, call: () => call(asked, target, who, caller) }
    }),
  )

describePrivateRedis('without Redis', () => {
  test('exactly the routes that document redis_unavailable answer it; the others work', async () => {
    const redis = await startRedis()
    const server = await startServer('full', { REDIS_URL: redis.url })
    try {
      const world = await makeWorld(server)
      const { owner } = world.people
      const { invitation } = await makeTarget(world, 'invitation')
      const anyone = createClient(server.url)
      const bodies = {
        ...publicBodies(owner, world.tenant.id),
        [previewInvitation]: { token: invitation },
      }
      const calls = [
        ...Object.entries(bodies).map(([route, body]) => ({
          route,
          call: () => anyone.post(route.replace('POST /api/v1', ''), body),
        })),
        ...(await preparedCalls(world)),
      ]
      const inApi = routes.filter((route) => route.includes(' /api/'))
      expect(new Set(calls.map(({ route }) => route))).toEqual(new Set(inApi))
      expect(Object.keys(bodies).every(isPublic)).toBe(true)

      await redis.stop('crash')
      await until(async () => (await fetch(`${server.url}/readyz`)).status === 503, 'not ready')
      const refused = new Set<string>()
      // Logging out ends the caller's session, so it comes last.
      const isLogout = ({ route }: { route: string }): number => Number(route.endsWith('/logout'))
      for (const { route, call: ask } of calls.toSorted((one, other) => isLogout(one) - isLogout(other))) {
        const answer = await ask()
        if (answer.body?.code === 'redis_unavailable') refused.add(route)
        else expect([route, answer.status < 300]).toEqual([route, true])
      }
      expect([...refused].sort()).toEqual(await documentedRoutes())
    } finally {
      await server.stop()
      await redis.end()
    }
  }, 60_000)
})
