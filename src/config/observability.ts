/**
 * Settings of metrics, slow-query logging and traces, part of the table in config.ts. The OTEL_ variables follow
 * OpenTelemetry's specification, so that what operators know, or set for all their programs, works here.
 */
import { boolean, integer, oneOf, optional, secret, setting, text, url } from './setting.ts'

const keyPairs = (raw: string): string => {
  const pairs = raw.split(',').filter((pair) => pair.trim() !== '')
  if (!pairs.every((pair) => /^\s*[^\s=]+\s*=/.test(pair)))
    throw new Error('must be comma-separated key=value pairs')
  return raw
}

const ratio = (raw: string): number => {
  const value = /^\d*\.?\d+$/.test(raw) ? Number(raw) : Number.NaN
  if (!(value >= 0 && value <= 1)) throw new Error('must be a number from 0 to 1')
  return value
}

/** A shorter token was hardly generated at random. */
const minTokenLength = 16

const bearerToken = (raw: string): string => {
  if (raw.length < minTokenLength || !/^[\w.~+/-]+=*$/.test(raw))
    throw new Error(
      `must have at least ${minTokenLength} characters, only letters, digits and -._~+/; generate one with: openssl rand -hex 32`,
    )
  return raw
}

export const observabilitySettings = {
  metricsToken: secret(
    optional('METRICS_TOKEN', bearerToken, 'Bearer token that /metrics requires. Unset: /metrics is open.'),
  ),
  metricsPort: optional(
    'METRICS_PORT',
    integer(0, 65_535),
    'Port for /metrics alone, which PORT then does not serve; 0 picks a free one. Unset: /metrics is on PORT.',
  ),
  metricsHost: optional('METRICS_HOST', text, 'Address to listen on for METRICS_PORT. Unset: HOST.'),
  slowQueryMs: setting(
    'SLOW_QUERY_MS',
    '500',
    (raw) => (raw === 'off' ? 0 : integer(0, 600_000)(raw)),
    'Milliseconds after which a database call, waiting included, is logged as slow, without parameters; 0 or off disables it.',
  ),
  otelEndpoint: optional(
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    url('http:', 'https:'),
    'Base URL of the OpenTelemetry collector that receives traces (OTLP over HTTP with JSON), e.g. http://localhost:4318. Unset: no traces.',
  ),
  otelTracesEndpoint: optional(
    'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    url('http:', 'https:'),
    'Full URL for traces, in place of the base URL, e.g. http://localhost:4318/v1/traces.',
  ),
  otelHeaders: secret(
    optional(
      'OTEL_EXPORTER_OTLP_HEADERS',
      keyPairs,
      'Headers sent to the collector: comma-separated key=value pairs.',
    ),
  ),
  otelServiceName: optional('OTEL_SERVICE_NAME', text, 'Service name in traces. Unset: minimart.'),
  otelResourceAttributes: optional(
    'OTEL_RESOURCE_ATTRIBUTES',
    keyPairs,
    'More attributes of this instance in traces: comma-separated key=value pairs.',
  ),
  otelSampler: setting(
    'OTEL_TRACES_SAMPLER',
    'parentbased_always_on',
    oneOf(
      'always_on',
      'always_off',
      'traceidratio',
      'parentbased_always_on',
      'parentbased_always_off',
      'parentbased_traceidratio',
    ),
    'Which requests are traced: always_on, always_off, traceidratio; with parentbased_ before it, as the caller decided if it traces.',
  ),
  otelSamplerArg: setting(
    'OTEL_TRACES_SAMPLER_ARG',
    '1',
    ratio,
    'Share of requests that traceidratio traces, 0 to 1.',
  ),
  otelScheduleDelayMs: setting(
    'OTEL_BSP_SCHEDULE_DELAY',
    '5000',
    integer(10, 60_000),
    'Milliseconds between two exports of traces.',
  ),
  otelDisabled: setting('OTEL_SDK_DISABLED', 'false', boolean, 'true disables traces in spite of the above.'),
}
