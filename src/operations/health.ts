/** Liveness, readiness and metrics: /healthz, /readyz, /metrics. */
import { Elysia, t } from 'elysia'
import { operation } from '../http/docs/openapi-operation.ts'
import { checkMetricsToken } from './metrics-access.ts'
import { metricsAnswer, type ServedMetrics } from './metrics-server.ts'
import type { Readiness } from './readiness.ts'

const tag = 'Service'
const answer = (status: number, body: object): Response =>
  Response.json(body, {
    status,
    headers: { 'cache-control': 'no-store', ...(status === 503 ? { 'retry-after': '2' } : {}) },
  })

export const healthRoutes = ({ readiness }: { readiness: () => Promise<Readiness> }) =>
  new Elysia()
    .get(
      '/healthz',
      () => answer(200, { status: 'ok' }),
      operation(
        {},
        {
          tag,
          id: 'healthz',
          summary: 'Liveness',
          public: true,
          selfContained: true,
          ok: {
            status: 200,
            description: 'The process is running.',
            schema: t.Object({ status: t.Literal('ok') }),
          },
        },
      ),
    )
    .get(
      '/readyz',
      async () => {
        const found = await readiness()
        return answer(found.status === 'ready' ? 200 : 503, found)
      },
      operation(
        {},
        {
          tag,
          id: 'readyz',
          summary: 'Readiness',
          public: true,
          selfContained: true,
          ok: { status: 200, description: 'The service is ready.', schema: ReadinessBody },
          alsoOk: [
            {
              status: 503,
              description: 'A backend is missing, or the service is starting or stopping.',
              schema: ReadinessBody,
            },
          ],
        },
      ),
    )

export interface MetricsRouteOptions {
  served: ServedMetrics
  /** METRICS_TOKEN */
  token: string | null
}

/** @param options null when METRICS_PORT serves them: then there is no route here */
export const metricsRoutes = (options: MetricsRouteOptions | null) =>
  options === null
    ? new Elysia()
    : new Elysia().get(
        '/metrics',
        ({ request }) => {
          checkMetricsToken(options.token, request.headers.get('authorization'))
          return metricsAnswer(options.served)
        },
        operation(
          {},
          {
            tag,
            id: 'metrics',
            summary: 'Metrics in the Prometheus text format',
            description: [
              'Open, unless the operator sets `METRICS_TOKEN`: then it requires that as a bearer token (not an access',
              'token). With `METRICS_PORT` set, metrics are served on that port and not here.',
            ].join('\n'),
            public: true,
            selfContained: true,
            ok: { status: 200, description: 'The metrics.', schema: t.String(), mediaType: 'text/plain' },
            ...(options.token === null ? {} : { errors: ['token_missing', 'token_invalid'] }),
          },
        ),
      )

const ReadinessBody = t.Object(
  {
    status: t.Union([t.Literal('ready'), t.Literal('not_ready'), t.Literal('draining')]),
    database: t.Union([t.Literal('up'), t.Literal('down'), t.Literal('read_only'), t.Literal('full')]),
    migrations: t.Union([
      t.Literal('current'),
      t.Literal('pending'),
      t.Literal('newer'),
      t.Literal('foreign'),
      t.Literal('unknown'),
    ]),
    redis: t.Union([
      t.Literal('up'),
      t.Literal('down'),
      t.Literal('full'),
      t.Literal('read_only'),
      t.Literal('no_channels'),
      t.Literal('not_used'),
    ]),
  },
  { $id: 'Readiness' },
)
