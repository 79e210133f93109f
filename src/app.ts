/** The whole server on one screen. */
import { cors } from '@elysiajs/cors'
import { Elysia } from 'elysia'
import type { Config } from './config/config.ts'
import type { Deps } from './deps.ts'
import { auditRoutes } from './features/audit/routes.ts'
import { ownAccountRoutes } from './features/auth/own-account-routes.ts'
import { publicAuthRoutes } from './features/auth/routes.ts'
import { invitationRoutes, inviteRoutes, openInvitationRoutes } from './features/invitations/routes.ts'
import { itemRoutes, listItemRoutes } from './features/items/routes.ts'
import { listRoutes, memberRoutes } from './features/lists/routes.ts'
import { tenantRoutes } from './features/tenants/routes.ts'
import { colleagueRoutes, userAdminRoutes } from './features/users/routes.ts'
import { pagesRoutes } from './features/web/routes.ts'
import { readJson } from './http/body.ts'
import { openapi } from './http/docs/openapi.ts'
import { rateLimitHeaderNames } from './http/docs/openapi-operation.ts'
import { errorAnswers } from './http/errors.ts'
import { observe } from './http/observe.ts'
import { originCheck } from './http/origin.ts'
import { routeTable } from './http/route-table.ts'
import { createDescriptorWatch } from './lib/descriptors.ts'
import { createLogger } from './log.ts'
import { healthRoutes, metricsRoutes } from './operations/health.ts'
import type { Metrics } from './operations/metrics.ts'
import type { ServedMetrics } from './operations/metrics-server.ts'
import type { Phase, Readiness } from './operations/readiness.ts'
import type { Live } from './realtime/live.ts'
import { socketRoutes } from './realtime/routes.ts'
import type { Tracing } from './tracing/tracing.ts'
import { version } from './version.ts'

export interface AppDeps extends Deps {
  live: Live
  phase: () => Phase
  readiness: () => Promise<Readiness>
  metrics: Metrics
  /** What /metrics serves here: the figures of this process or of all workers. Null: they have a port of their own. */
  servedMetrics: ServedMetrics | null
  /** Null where nothing is traced. */
  tracing: Tracing | null
  config: Pick<Config, 'corsOrigins' | 'trustProxy' | 'publicUrl' | 'metricsToken'>
}

export type App = ReturnType<typeof createApp>

export function createApp(deps: AppDeps) {
  const descriptors = createDescriptorWatch()
  const app = new Elysia({
    normalize: false,
    systemRouter: false,
    nativeStaticResponse: false,
    // Otherwise `Host: api`, as a proxy in front of a container sends it, finds no route: Elysia takes it for too short.
    handler: { standardHostname: false },
  })
    .use(
      observe({
        log: deps.log,
        tracing: deps.tracing,
        trustProxy: deps.config.trustProxy,
        publicUrl: deps.config.publicUrl,
        countRequest: deps.metrics.countRequest,
        endsConnections: () => deps.phase() === 'leaving' || descriptors.wasShort(),
      }),
    )
    .use(crossOrigin(deps.config.corsOrigins))
    .use(errorAnswers(deps.log, () => routes, deps.limits))
    .onParse({ as: 'global' }, ({ request }) => readJson(request))
    .use(healthRoutes(deps))
    .use(metricsRoutes(deps.servedMetrics && { served: deps.servedMetrics, token: deps.config.metricsToken }))
    .use(
      socketRoutes({
        sockets: deps.live?.sockets,
        isShortOfDescriptors: descriptors.isShort,
        isOriginAllowed: originCheck(deps.config.corsOrigins, () => deps.publicUrl),
        version,
      }),
    )
    .use(pagesRoutes())
    .use(openapi({ version, publicUrl: deps.config.publicUrl }))
    .use(publicAuthRoutes(deps))
    .use(ownAccountRoutes(deps))
    .use(tenantRoutes(deps))
    .use(colleagueRoutes(deps))
    .use(userAdminRoutes(deps))
    .use(auditRoutes(deps))
    .use(listRoutes(deps))
    .use(memberRoutes(deps))
    .use(listItemRoutes(deps))
    .use(itemRoutes(deps))
    .use(openInvitationRoutes(deps))
    .use(invitationRoutes(deps))
    .use(inviteRoutes(deps))
  const routes = routeTable(app.routes)
  return app
}

/** For the API document only: its routes are never called, so they have no dependencies. */
export function createDocumentedApp(): App {
  const config = { corsOrigins: [], trustProxy: { hops: 0 }, publicUrl: null, metricsToken: null }
  const log = createLogger({ level: 'error', format: 'json', write: () => undefined })
  const servedMetrics: ServedMetrics = { text: async () => '', contentType: 'text/plain' }
  const metrics = { countRequest: () => undefined }
  const phase = (): Phase => 'serving'
  return createApp({ config, log, metrics, servedMetrics, tracing: null, phase } as unknown as AppDeps)
}

/** Tokens travel in a header, so credentials are not allowed. Without origins, no header is added. */
const crossOrigin = (origins: string[]) =>
  origins.length === 0
    ? new Elysia()
    : new Elysia().use(
        cors({
          origin: origins,
          credentials: false,
          methods: ['GET', 'POST', 'PATCH', 'DELETE'],
          allowedHeaders: [
            'Authorization',
            'Content-Type',
            'Idempotency-Key',
            'If-Match',
            'If-None-Match',
            'X-Request-Id',
          ],
          exposeHeaders: ['ETag', 'Retry-After', 'X-Request-Id', ...rateLimitHeaderNames],
          maxAge: 600,
        }),
      )
