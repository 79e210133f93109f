/** Serves /metrics on a port of its own (METRICS_PORT), away from the service's users. */
import { type Config, ConfigError } from '../config/config.ts'
import { AppError } from '../errors.ts'
import { problemResponse } from '../http/errors.ts'
import { hostInUrl } from '../http/listening.ts'
import { newId } from '../lib/ids.ts'
import type { Logger } from '../log.ts'
import { checkMetricsToken } from './metrics-access.ts'

export interface MetricsServer {
  readonly url: string
  stop(): Promise<void>
}

export interface ServedMetrics {
  text(): Promise<string>
  readonly contentType: string
}

/** @throws ConfigError when it cannot listen on the port */
export function startMetricsServer(
  config: Pick<Config, 'metricsPort' | 'metricsHost' | 'metricsToken' | 'host'>,
  metrics: ServedMetrics,
  log: Logger,
): MetricsServer {
  const host = config.metricsHost ?? config.host
  const answer = async (request: Request): Promise<Response> => {
    const id = newId()
    try {
      if (new URL(request.url).pathname !== '/metrics')
        throw new AppError('not_found', 'This port serves /metrics only.')
      if (request.method !== 'GET' && request.method !== 'HEAD')
        throw new AppError('method_not_allowed', '/metrics allows GET and HEAD.', {
          headers: { allow: 'GET, HEAD' },
        })
      checkMetricsToken(config.metricsToken, request.headers.get('authorization'))
      return await metricsAnswer(metrics)
    } catch (error) {
      const known =
        error instanceof AppError ? error : new AppError('internal_error', 'Something went wrong.')
      if (known !== error) log.error('metrics could not be collected', { request_id: id, error })
      const response = problemResponse(known, id, { headers: {} })
      response.headers.set('x-request-id', id)
      return response
    }
  }
  const server = listen(host, config.metricsPort ?? 0, answer)
  const url = `http://${hostInUrl(host)}:${server.port}/metrics`
  // The service keeps the process alive, not its metrics.
  server.unref()
  log.info('metrics server is listening', { at: url })
  return {
    url,
    stop: () => server.stop(true),
  }
}

export const metricsAnswer = async ({ text, contentType }: ServedMetrics): Promise<Response> =>
  new Response(await text(), { headers: { 'content-type': contentType, 'cache-control': 'no-store' } })

function listen(hostname: string, port: number, fetch: (request: Request) => Promise<Response>) {
  try {
    return Bun.serve({ hostname, port, fetch, reusePort: false, development: false })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new ConfigError([
      `METRICS_PORT: cannot listen on ${hostname}, port ${port} (${code}); free the port or choose another`,
    ])
  }
}
