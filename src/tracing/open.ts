/**
 * Opens tracing where its variables ask for it. OpenTelemetry's packages are loaded only then; without them a request
 * or a database call costs one check for null.
 */
import type { Logger } from '../log.ts'
import type { Tracing, TracingConfig } from './tracing.ts'

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
