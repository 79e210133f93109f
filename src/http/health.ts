/** Whether the process lives, and whether it can do its work: for load balancers and people. */
import { Elysia, t } from 'elysia'
import type { Database } from '../db/database.ts'
import { migrationState } from '../db/migration-state.ts'
import type { OpenStore } from '../store/client.ts'
import type { Metrics } from './metrics.ts'
import { operation } from './openapi-operation.ts'

export interface HealthDeps {
  db: Database
  store: OpenStore
  metrics: Metrics
  /** True from the moment the server was told to stop. */
  isDraining: () => boolean
}

const tag = 'Service'
const answer = (status: number, body: object): Response =>
  Response.json(body, {
    status,
    headers: { 'cache-control': 'no-store', ...(status === 503 ? { 'retry-after': '2' } : {}) },
  })

export const healthRoutes = ({ db, store, metrics, isDraining }: HealthDeps) =>
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
        const [database, redis] = await Promise.all([checkDatabase(db), checkRedis(store)])
        const ready = !isDraining() && database.migrations === 'current' && redis !== 'down'
        const status = isDraining() ? 'draining' : ready ? 'ready' : 'not_ready'
        return answer(ready ? 200 : 503, { status, ...database, redis })
      },
      {
        detail: operation({
          tag,
          id: 'readyz',
          summary: 'The service can do its work',
          public: true,
          selfContained: true,
          ok: { status: 200, description: 'It can.', schema: Readiness },
          alsoOk: [{ status: 503, description: 'Something it needs is missing.', schema: Readiness }],
        }),
      },
    )
    .get(
      '/metrics',
      async () => new Response(await metrics.text(), { headers: { 'content-type': metrics.contentType } }),
      {
        detail: operation({
          tag,
          id: 'metrics',
          summary: "Figures in Prometheus' text format",
          public: true,
          selfContained: true,
          ok: { status: 200, description: 'The figures.', schema: t.String(), mediaType: 'text/plain' },
        }),
      },
    )

const Readiness = t.Object(
  {
    status: t.Union([t.Literal('ready'), t.Literal('not_ready'), t.Literal('draining')]),
    database: t.Union([t.Literal('up'), t.Literal('down')]),
    migrations: t.Union([
      t.Literal('current'),
      t.Literal('pending'),
      t.Literal('foreign'),
      t.Literal('unknown'),
    ]),
    redis: t.Union([t.Literal('up'), t.Literal('down'), t.Literal('not_used')]),
  },
  { $id: 'Readiness' },
)

async function checkDatabase(db: Database) {
  try {
    return { database: 'up', migrations: (await migrationState(db)).state } as const
  } catch {
    // What exactly is wrong is in the log of the adapters; a probe only needs to know that it is.
    return { database: 'down', migrations: 'unknown' } as const
  }
}

async function checkRedis(store: OpenStore) {
  if (store.kind !== 'redis') return 'not_used' as const
  return store.ping().then(
    () => 'up' as const,
    () => 'down' as const,
  )
}
