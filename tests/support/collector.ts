/** An OpenTelemetry collector that records what it receives: OTLP over HTTP with JSON. */
export interface ReceivedSpan {
  name: string
  traceId: string
  spanId: string
  parentSpanId?: string
  kind: number
  attributes: Record<string, string | number>
  status: { code?: number }
}

export interface Collector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string
  readonly spans: readonly ReceivedSpan[]
  /** Every request as text, headers first. */
  readonly raw: readonly string[]
  readonly resource: () => Record<string, string | number>
  stop(): Promise<void>
}

interface Attribute {
  key: string
  value: { stringValue?: string; intValue?: number; doubleValue?: number }
}

interface Body {
  resourceSpans: {
    resource: { attributes: Attribute[] }
    scopeSpans: { spans: (Omit<ReceivedSpan, 'attributes'> & { attributes: Attribute[] })[] }[]
  }[]
}

export function startCollector(): Collector {
  const spans: ReceivedSpan[] = []
  const raw: string[] = []
  let resource: Record<string, string | number> = {}
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const text = await request.text()
      raw.push(JSON.stringify([...request.headers]), text)
      if (new URL(request.url).pathname !== '/v1/traces') return new Response(null, { status: 404 })
      for (const { resource: about, scopeSpans } of (JSON.parse(text) as Body).resourceSpans) {
        resource = plain(about.attributes)
        for (const span of scopeSpans.flatMap((scope) => scope.spans))
          spans.push({ ...span, attributes: plain(span.attributes) })
      }
      return Response.json({})
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    spans,
    raw,
    resource: () => resource,
    stop: () => server.stop(true),
  }
}

const plain = (attributes: Attribute[]): Record<string, string | number> =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue ?? value.doubleValue ?? '']),
  )
