/**
 * OpenTelemetry's own packages, put together without their global registries. Nothing of a request gets into a span
 * but its method, its route's pattern and its status; nothing of a database call but its kind and its text.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
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
import { knownMethod } from '../lib/http-methods.ts'
import type { Logger } from '../log.ts'
import { version } from '../version.ts'
import type { Tracing, TracingConfig } from './tracing.ts'

/** Spans that wait for a collector; past them new ones are dropped. */
const maxWaitingSpans = 2048
const exportTimeoutMs = 10_000
const repeatLogEveryMs = 60_000

/** What belongs to one request; its span comes once the request is looked at. */
interface Place {
  context: Context
}

export function createTracing(config: TracingConfig & { endpoint: string }, log: Logger): Tracing {
  tellFailures(log)
  const provider = createProvider(config)
  const tracer = provider.getTracer('minimart', version)
  const propagator = new W3CTraceContextPropagator()
  const places = new AsyncLocalStorage<Place>()
  // Not from the request: a Host header can say anything.
  const self = new URL(config.publicUrl ?? `http://${config.host.includes(':') ? '[::1]' : config.host}`)
  const standing: Attributes = {
    [ATTR_URL_SCHEME]: self.protocol.slice(0, -1),
    [ATTR_SERVER_ADDRESS]: config.publicUrl === null ? config.host : self.hostname,
  }

  return {
    around:
      (handle) =>
      (...given) =>
        places.run({ context: ROOT_CONTEXT }, () => handle(...given)),
    startRequest(request) {
      const method = knownMethod(request.method) ?? '_OTHER'
      const parent = propagator.extract(ROOT_CONTEXT, request.headers, headerGetter)
      const attributes = { ...standing, [ATTR_HTTP_REQUEST_METHOD]: method }
      const span = tracer.startSpan(spanName(method, null), { kind: SpanKind.SERVER, attributes }, parent)
      const place = places.getStore()
      if (place) place.context = trace.setSpan(parent, span)
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
    },
    async databaseCall({ kind, text }, work) {
      const parent = places.getStore()?.context
      if (parent === undefined || trace.getSpan(parent) === undefined) return work()
      const span = tracer.startSpan(
        `database ${kind}`,
        { kind: SpanKind.CLIENT, attributes: calls[kind] },
        parent,
      )
      try {
        return await work()
      } catch (error) {
        // The kind alone: messages can hold what people wrote.
        const type = error instanceof Error ? error.name : 'unknown'
        span.setStatus({ code: SpanStatusCode.ERROR }).setAttribute(ATTR_ERROR_TYPE, type)
        throw error
      } finally {
        // Only now, for a transaction learns its statements as it goes.
        if (span.isRecording()) span.setAttribute(ATTR_DB_QUERY_TEXT, text())
        span.end()
      }
    },
    traceId() {
      const place = places.getStore()
      return (place && trace.getSpanContext(place.context)?.traceId) ?? null
    },
    async close(timeoutMs) {
      // A collector that is away must not hold the service's end.
      await Promise.race([provider.shutdown().catch(() => undefined), Bun.sleep(timeoutMs)])
    },
  }
}

function createProvider(config: TracingConfig & { endpoint: string }): TracerProvider {
  const exporter = new OTLPTraceExporter({
    url: config.endpoint,
    headers: parseKeyPairsIntoRecord(config.otelHeaders ?? ''),
    timeoutMillis: exportTimeoutMs,
  })
  const described = parseKeyPairsIntoRecord(config.otelResourceAttributes ?? '')
  const usual = { [ATTR_SERVICE_NAME]: 'minimart', [ATTR_SERVICE_VERSION]: version }
  const named = config.otelServiceName === null ? {} : { [ATTR_SERVICE_NAME]: config.otelServiceName }
  return new TracerProvider({
    resource: defaultResource().merge(resourceFromAttributes({ ...usual, ...described, ...named })),
    sampler: samplerOf(config),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter,
        maxQueueSize: maxWaitingSpans,
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

/** The specification's form: the method, and the route's pattern where there is one. */
const spanName = (method: string, route: string | null): string =>
  [method === '_OTHER' ? 'HTTP' : method, route].filter(Boolean).join(' ')

const callOf = (kind: string): Attributes => ({
  [ATTR_DB_SYSTEM_NAME]: DB_SYSTEM_NAME_VALUE_POSTGRESQL,
  [ATTR_DB_OPERATION_NAME]: kind,
})
const calls = { read: callOf('read'), write: callOf('write'), transaction: callOf('transaction') }

const headerGetter: TextMapGetter<Headers> = {
  get: (headers, name) => headers.get(name) ?? undefined,
  keys: (headers) => [...headers.keys()],
}

/** The packages report what goes wrong to one handler for the whole process. */
function tellFailures(log: Logger): void {
  let toldAt = Number.NEGATIVE_INFINITY
  setGlobalErrorHandler((error) => {
    if (performance.now() - toldAt < repeatLogEveryMs) return
    toldAt = performance.now()
    const reason = error instanceof Error ? error.message : 'unknown'
    log.warn('traces could not be sent; the service goes on without', { reason })
  })
}
