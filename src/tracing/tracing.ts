/**
 * Traces for OpenTelemetry, when its variables ask for them. This file is what the program sees of them; what makes
 * them (tracing-otel.ts, with the official packages) is loaded only then. Without them there is no Tracing, and a
 * request or a database call costs one look at null.
 */
import type { Config } from '../config/config.ts'
import type { Logger } from '../log.ts'

export interface RequestSpan {
  /** 32 hexadecimal digits, for the log; the caller's own trace where he had one. */
  readonly traceId: string
  /** @param route the route's pattern, null where no route was found */
  end(route: string | null, status: number): void
}

export interface DatabaseCall {
  kind: 'read' | 'write' | 'transaction'
  /** The statements' text without values; asked for only when the call is recorded. */
  text: () => string
}

export interface Tracing {
  /** Makes a request's span the parent of what is called on its behalf. Goes round the whole handling of requests. */
  around<Arguments extends unknown[], Answer>(
    handle: (...given: Arguments) => Answer,
  ): (...given: Arguments) => Answer
  /** Inside of `around`. Goes on with the caller's trace where its `traceparent` names one. */
  startRequest(request: Request): RequestSpan
  /** A span about `work` if a request is being traced, else `work` alone. */
  databaseCall<T>(call: DatabaseCall, work: () => Promise<T>): Promise<T>
  /** The trace that is going on, null outside of requests. */
  traceId(): string | null
  /** Sends what waits, for that long at most; never throws. */
  close(timeoutMs: number): Promise<void>
}

export type TracingConfig = Pick<
  Config,
  | 'otelEndpoint'
  | 'otelTracesEndpoint'
  | 'otelHeaders'
  | 'otelServiceName'
  | 'otelResourceAttributes'
  | 'otelSampler'
  | 'otelSamplerArg'
  | 'otelScheduleDelayMs'
  | 'otelDisabled'
  | 'publicUrl'
  | 'host'
>

/** Null where no variable asks for traces. A collector that is away is no error: the service does not depend on it. */
export async function openTracing(config: TracingConfig, log: Logger): Promise<Tracing | null> {
  const endpoint = tracesEndpoint(config)
  if (endpoint === null) return null
  const { createTracing } = await import('./tracing-otel.ts')
  // Without the query, and without a password: it goes into the log.
  const { protocol, host, pathname } = new URL(endpoint)
  log.info('traces are sent', { to: `${protocol}//${host}${pathname}`, sampler: config.otelSampler })
  return createTracing({ ...config, endpoint }, log)
}

/** OTLP's rule: the general endpoint is a base, the one for traces is used as it stands. */
function tracesEndpoint({ otelDisabled, otelEndpoint, otelTracesEndpoint }: TracingConfig): string | null {
  if (otelDisabled) return null
  if (otelTracesEndpoint !== null) return otelTracesEndpoint
  return otelEndpoint === null ? null : `${otelEndpoint.replace(/\/+$/, '')}/v1/traces`
}
