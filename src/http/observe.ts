/**
 * The outermost layer: gives each request its id, the caller's address and its line in the log and the metrics. Only
 * the route's pattern is recorded, never the path or the query, which may hold a token.
 */
import { Elysia } from 'elysia'
import { clientAddress } from '../access/client-address.ts'
import type { TrustProxy } from '../config/config.ts'
import { platformTenantId } from '../db/schema.ts'
import { aroundRequest } from '../db/shares.ts'
import { AppError } from '../errors.ts'
import { newId } from '../lib/ids.ts'
import { createSampler, type Logger } from '../log.ts'
import type { Tracing } from '../tracing/tracing.ts'
import { rememberRequest, requestInfo } from './request-info.ts'

export interface ObserveDeps {
  log: Logger
  /** Called with each answer's method, route pattern, status and duration in milliseconds. */
  countRequest: (method: string, route: string, status: number, milliseconds: number) => void
  trustProxy: TrustProxy
  /** PUBLIC_URL as it is set; https means that TLS ends in front of the server. */
  publicUrl: string | null
  /** Null where nothing is traced. */
  tracing: Tracing | null
  /** Whether answers end their connections: when the server was told to stop, or its descriptors run short. */
  endsConnections: () => boolean
}

/** What may go into a log and a header as it is. */
const wellFormedId = /^[\w.:+/=@-]{1,128}$/

/**
 * The default headers of every answer: nothing may store it, frame it, sniff its type or run anything in it. CORS takes
 * precedence over the cross-origin policy.
 */
const everywhere = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

/** For this host only: other hosts of the domain are not ours to decide about. Browsers honour it over TLS only. */
const onTls = { 'strict-transport-security': 'max-age=31536000' }

/** Of requests that were refused to callers who are not signed in; there is no limit to how many of these there are. */
const refusalsLoggedPerSecond = 100

/** Ends the connection with the answer (RFC 9112, 9.6): a kept one would be cut under its next request. */
const ending = { connection: 'close' }

export const observe = ({
  log,
  countRequest,
  trustProxy,
  publicUrl,
  tracing,
  endsConnections,
}: ObserveDeps) => {
  const defaultHeaders = { ...everywhere, ...(publicUrl?.startsWith('https:') ? onTls : {}) }
  const isLoggedRefusal = createSampler(refusalsLoggedPerSecond, (count) =>
    log.info('refused requests were left out of the log', { count }),
  )
  const plugin = new Elysia({ name: 'observe' })
  plugin.wrap(aroundRequest)
  if (tracing !== null) plugin.wrap(tracing.around)
  return plugin
    .onRequest(({ request, server, set }) => {
      const given = request.headers.get('x-request-id')
      const isGivenId = given !== null && wellFormedId.test(given)
      const id = isGivenId ? given : newId()
      const peer = server?.requestIP(request)?.address ?? 'unknown'
      const address = clientAddress(peer, request.headers.get('x-forwarded-for'), trustProxy)
      const answerHeaders = Object.assign(set.headers, defaultHeaders, endsConnections() ? ending : null, {
        'x-request-id': id,
      })
      rememberRequest(request, {
        id,
        isGivenId,
        startedAt: performance.now(),
        address,
        answerHeaders,
        actor: null,
        span: tracing?.startRequest(request) ?? null,
      })
      refuseTwoHosts(request)
    })
    .onAfterResponse({ as: 'global' }, ({ request, route, responseValue, set }) => {
      const { id, startedAt, actor, span } = requestInfo(request)
      const status = responseValue instanceof Response ? responseValue.status : Number(set.status ?? 200)
      const milliseconds = performance.now() - startedAt
      const pattern = route?.replace(/(?<=.)\/$/, '') || 'none'
      countRequest(request.method, pattern, status, milliseconds)
      span?.end(pattern === 'none' ? null : pattern, status)
      if (actor === null && status >= 400 && status < 500 && !isLoggedRefusal()) return
      const level = pattern === '/healthz' || pattern === '/readyz' ? 'debug' : 'info'
      log[level]('request', {
        method: request.method,
        route: pattern,
        status,
        ms: Math.round(milliseconds * 10) / 10,
        request_id: id,
        ...(span === null ? {} : { trace_id: span.traceId }),
        tenant_id: actor && actor.tenantId !== platformTenantId ? actor.tenantId : null,
        user_id: actor?.userId ?? null,
      })
    })
}

/** RFC 9112, 3.2; Bun joins them. A proxy before this program may have gone by the other one. @throws AppError */
function refuseTwoHosts(request: Request): void {
  if (request.headers.get('host')?.includes(','))
    throw new AppError('malformed_request', 'A request has one Host header.')
}
