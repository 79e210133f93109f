/** Whether the process lives, and whether it can do its work: for load balancers and people. */
import { Elysia, t } from 'elysia'
import { operation } from '../http/docs/openapi-operation.ts'
import { checkMetricsToken } from './metrics-access.ts'
import { metricsAnswer, type ServedMetrics } from './metrics-server.ts'
import { type ReadinessDeps, readiness } from './readiness.ts'

const tag = 'Service'
const answer = (status: number, body: object): Response =>
  Response.json(body, {
    status,
    headers: { 'cache-control': 'no-store', ...(status === 503 ? { 'retry-after': '2' } : {}) },
  })

export const healthRoutes = (deps: ReadinessDeps) =>
  new Elysia()
    .get('/healthz', () => answer(200, { status: 'ok' }), {
      detail: operation({
        tag,
        id: 'healthz',
        summary: 'The process lives',
        public: true,
        selfContained: true,
        ok: { status: 200, description: 'It does.', schema: t.Object({ status: t.Literal('ok') }) },
      }),
    })
    .get(
      '/readyz',
      async () => {
        const found = await readiness(deps)
        return answer(found.status === 'ready' ? 200 : 503, found)
      },
      {
        detail: operation({
          tag,
          id: 'readyz',
          summary: 'The service can do its work',
          public: true,
          selfContained: true,
          ok: { status: 200, description: 'It can.', schema: ReadinessBody },
          alsoOk: [{ status: 503, description: 'Something it needs is missing.', schema: ReadinessBody }],
        }),
      },
    )

export interface MetricsRouteOptions {
  served: ServedMetrics
  /** METRICS_TOKEN */
  token: string | null
}

/** @param options null where the figures have a port of their own: here they are nowhere then */
export const metricsRoutes = (options: MetricsRouteOptions | null) =>
  options === null
    ? new Elysia()
    : new Elysia().get(
        '/metrics',
        ({ request }) => {
          checkMetricsToken(options.token, request.headers.get('authorization'))
          return metricsAnswer(options.served)
        },
        {
          detail: operation({
            tag,
            id: 'metrics',
            summary: "Figures in Prometheus' text format",
            description: [
              'Open to everybody unless the operator sets `METRICS_TOKEN`, which then is the bearer token that is',
              'wanted here (no access token is); with `METRICS_PORT` set they are on that port and not here.',
            ].join('\n'),
            public: true,
            selfContained: true,
            ok: { status: 200, description: 'The figures.', schema: t.String(), mediaType: 'text/plain' },
            ...(options.token === null ? {} : { errors: ['token_missing', 'token_invalid'] }),
          }),
        },
      )

const ReadinessBody = t.Object(
  {
    status: t.Union([t.Literal('ready'), t.Literal('not_ready'), t.Literal('draining')]),
    database: t.Union([t.Literal('up'), t.Literal('down')]),
    migrations: t.Union([
      t.Literal('current'),
      t.Literal('pending'),
      t.Literal('newer'),
      t.Literal('foreign'),
      t.Literal('unknown'),
    ]),
    redis: t.Union([t.Literal('up'), t.Literal('down'), t.Literal('not_used')]),
  },
  { $id: 'Readiness' },
)
