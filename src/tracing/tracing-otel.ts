/**
 * Traces by OpenTelemetry's packages, without their global registries. A span holds nothing of a request but its method,
 * route pattern and status, and nothing of a database call but its kind and statement text.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import {
  parseKeyPairsIntoRecord,
  setGlobalErrorHandler,
  W3CTraceContextPropagator,
} from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources'
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import {
  ATTR_DB_OPERATION_NAME,
  ATTR_DB_QUERY_TEXT,
  ATTR_DB_SYSTEM_NAME,
  ATTR_ERROR_TYPE,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_RESPONSE_STATUS_CODE,
  ATTR_HTTP_ROUTE,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVICE_NAME,
  ATTR_SERVICE_VERSION,
  ATTR_URL_SCHEME,
  DB_SYSTEM_NAME_VALUE_POSTGRESQL,
} from '@opentelemetry/semantic-conventions'
import pTimeout from 'p-timeout'
import { knownMethod } from '../lib/http-methods.ts'
import type { Logger } from '../log.ts'
import { version } from '../version.ts'
import type { Tracing, TracingConfig } from './tracing.ts'

/** Spans waiting for export; beyond that, new ones are dropped. */
const maxQueuedSpans = 2048
const exportTimeoutMs = 10_000
const repeatLogEveryMs = 60_000

/** Of one request; holds its span once that is started. */
interface Scope {
  context: Context
}

export function createTracing(config: TracingConfig & { endpoint: string }, log: Logger): Tracing {
  logExportFailures(log)
  const provider = createProvider(config)
  const tracer = provider.getTracer('minimart', version)
  const scopes = new AsyncLocalStorage<Scope>()
  return {
    around:
      (handle) =>
      (...given) =>
        scopes.run({ context: ROOT_CONTEXT }, () => handle(...given)),
    startRequest: requestSpans(tracer, scopes, serverAttributes(config)),
    databaseCall: databaseSpans(tracer, scopes),
    traceId() {
      const scope = scopes.getStore()
      return (scope && trace.getSpanContext(scope.context)?.traceId) ?? null
    },
    async close(timeoutMs) {
      // An unavailable collector must not hold up the shutdown.
      await pTimeout(provider.shutdown(), { milliseconds: timeoutMs, message: false }).catch(() => undefined)
    },
  }
}

/** From the settings, not from the request, whose Host header is client input. */
function serverAttributes({ publicUrl, host }: TracingConfig): Attributes {
  const url = new URL(publicUrl ?? `http://${host.includes(':') ? '[::1]' : host}`)
  return {
    [ATTR_URL_SCHEME]: url.protocol.slice(0, -1),
    [ATTR_SERVER_ADDRESS]: publicUrl === null ? host : url.hostname,
  }
}

function requestSpans(
  tracer: Tracer,
  scopes: AsyncLocalStorage<Scope>,
  server: Attributes,
): Tracing['startRequest'] {
  const propagator = new W3CTraceContextPropagator()
  return (request) => {
    const method = knownMethod(request.method) ?? '_OTHER'
    const parent = propagator.extract(ROOT_CONTEXT, request.headers, headerGetter)
    const attributes = { ...server, [ATTR_HTTP_REQUEST_METHOD]: method }
    const span = tracer.startSpan(spanName(method, null), { kind: SpanKind.SERVER, attributes }, parent)
    const scope = scopes.getStore()
    if (scope) scope.context = trace.setSpan(parent, span)
    return {
      traceId: span.spanContext().traceId,
      end(route, status) {
        if (route !== null) span.updateName(spanName(method, route)).setAttribute(ATTR_HTTP_ROUTE, route)
        span.setAttribute(ATTR_HTTP_RESPONSE_STATUS_CODE, status)
        if (status >= 500)
          span.setStatus({ code: SpanStatusCode.ERROR }).setAttribute(ATTR_ERROR_TYPE, String(status))
        span.end()
      },
    }
  }
}

const databaseSpans =
  (tracer: Tracer, scopes: AsyncLocalStorage<Scope>): Tracing['databaseCall'] =>
  async ({ kind, text }, work) => {
    const parent = scopes.getStore()?.context
    if (parent === undefined || trace.getSpan(parent) === undefined) return work()
    const options = { kind: SpanKind.CLIENT, attributes: databaseAttributes[kind] }
    const span = tracer.startSpan(`database ${kind}`, options, parent)
    try {
      return await work()
    } catch (error) {
      // Not the message, which may hold user data.
      const type = error instanceof Error ? error.name : 'unknown'
      span.setStatus({ code: SpanStatusCode.ERROR }).setAttribute(ATTR_ERROR_TYPE, type)
      throw error
    } finally {
      // Only now: a transaction's statements are not known before.
      if (span.isRecording()) span.setAttribute(ATTR_DB_QUERY_TEXT, text())
      span.end()
    }
  }

function createProvider(config: TracingConfig & { endpoint: string }): TracerProvider {
  const exporter = new OTLPTraceExporter({
    url: config.endpoint,
    headers: parseKeyPairsIntoRecord(config.otelHeaders ?? ''),
    timeoutMillis: exportTimeoutMs,
  })
  const attributes = parseKeyPairsIntoRecord(config.otelResourceAttributes ?? '')
  const defaults = { [ATTR_SERVICE_NAME]: 'minimart', [ATTR_SERVICE_VERSION]: version }
  const name = config.otelServiceName === null ? {} : { [ATTR_SERVICE_NAME]: config.otelServiceName }
  return new TracerProvider({
    resource: defaultResource().merge(resourceFromAttributes({ ...defaults, ...attributes, ...name })),
    sampler: samplerOf(config),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter,
        maxQueueSize: maxQueuedSpans,
        scheduledDelayMillis: config.otelScheduleDelayMs,
        exportTimeoutMillis: exportTimeoutMs,
      }),
    ],
  })
}

function samplerOf({ otelSampler, otelSamplerArg }: TracingConfig): Sampler {
  const root: Sampler = otelSampler.endsWith('traceidratio')
    ? new TraceIdRatioBasedSampler(otelSamplerArg)
    : otelSampler.endsWith('always_off')
      ? new AlwaysOffSampler()
      : new AlwaysOnSampler()
  return otelSampler.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root
}

/** `{method} {route}`, by OpenTelemetry's semantic conventions; without a route the method alone. */
const spanName = (method: string, route: string | null): string =>
  [method === '_OTHER' ? 'HTTP' : method, route].filter(Boolean).join(' ')

const attributesOf = (kind: string): Attributes => ({
  [ATTR_DB_SYSTEM_NAME]: DB_SYSTEM_NAME_VALUE_POSTGRESQL,
  [ATTR_DB_OPERATION_NAME]: kind,
})
const databaseAttributes = {
  read: attributesOf('read'),
  write: attributesOf('write'),
  transaction: attributesOf('transaction'),
}

const headerGetter: TextMapGetter<Headers> = {
  get: (headers, name) => headers.get(name) ?? undefined,
  keys: (headers) => [...headers.keys()],
}

/** OpenTelemetry has one error handler for the whole process. */
function logExportFailures(log: Logger): void {
  let loggedAt = Number.NEGATIVE_INFINITY
  setGlobalErrorHandler((error) => {
    if (performance.now() - loggedAt < repeatLogEveryMs) return
    loggedAt = performance.now()
    const reason = error instanceof Error ? error.message : 'unknown'
    log.warn('traces could not be exported; the service runs on without them', { reason })
  })
}
