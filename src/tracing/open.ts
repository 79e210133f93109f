/**
 * Opens tracing if it is configured. OpenTelemetry's packages are loaded only then; without, a request or a database
 * call costs one null check.
 */
import type { Logger } from '../log.ts'
import type { Tracing, TracingConfig } from './tracing.ts'

/** Null unless traces are configured. An unavailable collector is not an error: the service does not depend on it. */
export async function openTracing(config: TracingConfig, log: Logger): Promise<Tracing | null> {
  const endpoint = tracesEndpoint(config)
  if (endpoint === null) return null
  const { createTracing } = await import('./tracing-otel.ts')
  // For the log, so without query and credentials.
  const { protocol, host, pathname } = new URL(endpoint)
  log.info('traces are exported', { to: `${protocol}//${host}${pathname}`, sampler: config.otelSampler })
  return createTracing({ ...config, endpoint }, log)
}

/** By OTLP's rules the general endpoint is a base URL, and the one for traces is used as is. */
function tracesEndpoint({ otelDisabled, otelEndpoint, otelTracesEndpoint }: TracingConfig): string | null {
  if (otelDisabled) return null
  if (otelTracesEndpoint !== null) return otelTracesEndpoint
  return otelEndpoint === null ? null : `${otelEndpoint.replace(/\/+$/, '')}/v1/traces`
}
