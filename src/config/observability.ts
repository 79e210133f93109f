/**
 * The settings of what is watched, spread into the one table of config.ts. The OTEL_ variables have the names and
 * the meaning of OpenTelemetry's specification, so that what an operator knows or sets for all programs works here.
 */
import { boolean, integer, oneOf, optional, secret, setting, text, url } from './setting.ts'

const keyPairs = (raw: string): string => {
  const pairs = raw.split(',').filter((pair) => pair.trim() !== '')
  if (!pairs.every((pair) => /^\s*[^\s=]+\s*=/.test(pair)))
    throw new Error('must be pairs like key=value, comma-separated')
  return raw
}

const ratio = (raw: string): number => {
  const value = /^\d*\.?\d+$/.test(raw) ? Number(raw) : Number.NaN
  if (!(value >= 0 && value <= 1)) throw new Error('must be a number from 0 to 1')
  return value
}

/** 16 bytes cannot be guessed; what is shorter was hardly made at random. */
const minTokenLength = 16

const bearerToken = (raw: string): string => {
  if (raw.length < minTokenLength || !/^[\w.~+/-]+=*$/.test(raw))
    throw new Error(
      `must have at least ${minTokenLength} characters, all letters, digits or -._~+/; make one with: openssl rand -hex 32`,
    )
  return raw
}

export const observabilitySettings = {
  metricsToken: secret(
    optional('METRICS_TOKEN', bearerToken, 'What /metrics then wants: Authorization: Bearer and this.'),
  ),
  metricsPort: optional(
    'METRICS_PORT',
    integer(0, 65_535),
    'A port for /metrics, which then is on no other; 0 for any free one. Unset: on PORT.',
  ),
  metricsHost: optional('METRICS_HOST', text, 'Address that METRICS_PORT listens on. Unset: HOST.'),
  slowQueryMs: setting(
    'SLOW_QUERY_MS',
    '500',
    (raw) => (raw === 'off' ? 0 : integer(0, 600_000)(raw)),
    'Database calls that take longer, waiting included, are logged without their values; 0 or off for none.',
  ),
  otelEndpoint: optional(
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    url('http:', 'https:'),
    'OpenTelemetry collector to send traces to (OTLP over HTTP with JSON), e.g. http://localhost:4318. Unset: no traces.',
  ),
  otelTracesEndpoint: optional(
    'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    url('http:', 'https:'),
    'The same for traces alone, with its path, e.g. http://localhost:4318/v1/traces.',
  ),
  otelHeaders: secret(
    optional(
      'OTEL_EXPORTER_OTLP_HEADERS',
      keyPairs,
      'Headers for the collector, key=value, comma-separated.',
    ),
  ),
  otelServiceName: optional('OTEL_SERVICE_NAME', text, 'Name of the service in traces. Unset: minimart.'),
  otelResourceAttributes: optional(
    'OTEL_RESOURCE_ATTRIBUTES',
    keyPairs,
    'More about this instance in traces, key=value, comma-separated.',
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
    'Which requests are traced; parentbased: the caller decides, where it traces.',
  ),
  otelSamplerArg: setting('OTEL_TRACES_SAMPLER_ARG', '1', ratio, 'The share for traceidratio, 0 to 1.'),
  otelScheduleDelayMs: setting(
    'OTEL_BSP_SCHEDULE_DELAY',
    '5000',
    integer(10, 60_000),
    'Milliseconds between two sendings of traces.',
  ),
  otelDisabled: setting('OTEL_SDK_DISABLED', 'false', boolean, 'true: no traces in spite of the above.'),
}
