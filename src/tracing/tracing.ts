/** The interface to tracing, without OpenTelemetry's packages. */
import type { Config } from '../config/config.ts'

export interface RequestSpan {
  /** 32 hexadecimal digits, for the log; the caller's where it sent a `traceparent`. */
  readonly traceId: string
  /** @param route its pattern, null when no route matched */
  end(route: string | null, status: number): void
}

export interface DatabaseCall {
  kind: 'read' | 'write' | 'transaction'
  /** The statements without parameters; called only when the span is recorded. */
  text: () => string
}

export interface Tracing {
  /** Wraps request handling, so that the request's span becomes the parent of its database calls. */
  around<Arguments extends unknown[], Answer>(
    handle: (...given: Arguments) => Answer,
  ): (...given: Arguments) => Answer
  /** To be called inside `around`. Continues the caller's trace if the request has a `traceparent`. */
  startRequest(request: Request): RequestSpan
  /** Runs `work`, in a span if a request is being traced. */
  databaseCall<T>(call: DatabaseCall, work: () => Promise<T>): Promise<T>
  /** Of the current request, null outside of requests. */
  traceId(): string | null
  /** Exports what is queued, for `timeoutMs` at most. Never throws. */
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
