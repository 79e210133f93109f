/** What the program sees of traces; tracing-otel.ts makes them, where open.ts finds that they are wanted. */
import type { Config } from '../config/config.ts'

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
