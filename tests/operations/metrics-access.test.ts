/** Who may read the metrics, and where: METRICS_TOKEN, METRICS_PORT, METRICS_HOST. */
import { afterAll, describe, expect, test } from 'bun:test'
import { loadConfig } from '../../src/config/config.ts'
import { start } from '../../src/server.ts'
import { scrape, sumOf } from '../support/metrics.ts'
import { postgresAvailable } from '../support/postgres.ts'
import { redisAvailable } from '../support/redis.ts'
import { oncePerBackend, startServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const token = 'made-by/openssl+rand=='
const bearer = { authorization: `Bearer ${token}` }

const withToken = oncePerBackend((backend) => startServer(backend, { METRICS_TOKEN: token }))
const withPort = oncePerBackend((backend) =>
  startServer(backend, { METRICS_TOKEN: token, METRICS_PORT: '0', METRICS_HOST: '127.0.0.2' }),
)

const metricsUrl = ({ log }: TestServer): string =>
  String(log.lines.find(({ message }) => message === 'metrics server is listening')?.fields?.['at'])

const described = async ({ url }: TestServer) => {
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, { get?: { responses: Record<string, unknown> } }>
  }
  return paths['/metrics']?.get
}

/** The backend makes no difference here, and this one starts faster. */
const backend = postgresAvailable && redisAvailable ? 'full' : 'embedded'

describe('the metrics', () => {
  afterAll(async () => {
    for (const made of [withToken, withPort]) await (await made(backend)).stop()
  })

  test('require METRICS_TOKEN once it is set, accept nothing else, and the API document says so', async () => {
    const server = await withToken(backend)
    const at = `${server.url}/metrics`
    expect(sumOf(await scrape(at, bearer), 'minimart_build_info')).toBe(1)
    expect(sumOf(await scrape(at, { authorization: `bearer ${token}` }), 'minimart_build_info')).toBe(1)
    for (const [authorization, code] of [
      [undefined, 'token_missing'],
      ['', 'token_invalid'],
      ['Bearer ', 'token_invalid'],
      [`Bearer ${token}x`, 'token_invalid'],
      [`Bearer ${token.slice(0, -1)}`, 'token_invalid'],
      [`Basic ${token}`, 'token_invalid'],
      [token, 'token_invalid'],
    ] as const) {
      const answer = await fetch(at, { headers: authorization === undefined ? {} : { authorization } })
      expect(answer.status).toBe(401)
      expect(answer.headers.get('content-type')).toBe('application/problem+json')
      expect(answer.headers.get('www-authenticate')).toBe('Bearer')
      const text = await answer.text()
      // An empty header may be dropped on the way.
      if (authorization !== '') expect(JSON.parse(text)).toMatchObject({ status: 401, code })
      expect(text).not.toContain('minimart_')
      expect(text).not.toContain(token)
    }
    expect((await fetch(`${at}?token=${token}`)).status).toBe(401)
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
    expect(Object.keys((await described(server))?.responses ?? {})).toEqual(['200', '400', '401'])
    expect(JSON.stringify(server.log.lines)).not.toContain(token)
  })

  test('are served only on METRICS_PORT and METRICS_HOST once set, and nothing else is served there', async () => {
    const server = await withPort(backend)
    const at = metricsUrl(server)
    expect(at).toMatch(/^http:\/\/127\.0\.0\.2:\d+\/metrics$/)
    expect(new URL(at).port).not.toBe(new URL(server.url).port)
    const here = await fetch(`${server.url}/metrics`, { headers: bearer })
    expect(here.status).toBe(404)
    expect(await here.json()).toMatchObject({ code: 'not_found' })
    expect(await described(server)).toBeUndefined()
    expect(sumOf(await scrape(at, bearer), 'minimart_build_info')).toBe(1)
    await fetch(`${server.url}/healthz`)
    await until(async () => {
      const found = await scrape(at, bearer)
      return sumOf(found, 'minimart_http_request_duration_seconds_count', { route: '/healthz' }) > 0
    }, 'what the other port did')
    const refused = await fetch(at)
    expect(refused.status).toBe(401)
    expect(await refused.json()).toMatchObject({
      code: 'token_missing',
      request_id: refused.headers.get('x-request-id'),
    })
    expect((await fetch(at, { method: 'POST', headers: bearer })).status).toBe(405)
    for (const path of ['/', '/healthz', '/api/v1/auth/me', '/metrics/x', '/openapi.json'])
      expect((await fetch(new URL(path, at), { headers: bearer })).status).toBe(404)
  })

  test('on a port that is taken fail the start, naming the setting', async () => {
    const { environment, log } = await withPort(backend)
    const taken = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('taken') })
    const other = { ...environment, METRICS_PORT: String(taken.port), METRICS_HOST: '127.0.0.1' }
    // The embedded database has a single owner, so there the locked folder would be reported instead.
    if (backend === 'embedded') Object.assign(other, { DATA_DIR: `${environment['DATA_DIR']}-other` })
    const refusal = await start(loadConfig(other), log).catch((error: unknown) => String(error))
    expect(refusal).toContain(`METRICS_PORT: cannot listen on 127.0.0.1, port ${taken.port} (EADDRINUSE)`)
    await taken.stop(true)
  })

  test('refuse guessable tokens and contradicting settings, by name', () => {
    const faults = (settings: Record<string, string>): string => {
      try {
        loadConfig(settings)
        return ''
      } catch (error) {
        return String(error)
      }
    }
    expect(faults({ METRICS_TOKEN: 'short' })).toContain('METRICS_TOKEN must have at least 16 characters')
    expect(faults({ METRICS_TOKEN: 'with spaces in it, it is none' })).toContain('METRICS_TOKEN')
    expect(faults({ METRICS_PORT: '8000' })).toContain('METRICS_PORT must differ from PORT')
    expect(faults({ METRICS_HOST: '127.0.0.1' })).toContain('METRICS_HOST requires METRICS_PORT')
    expect(faults({ SLOW_QUERY_MS: 'slow' })).toContain('SLOW_QUERY_MS must be')
    expect(faults({ SLOW_QUERY_MS: 'off', METRICS_PORT: '9090', METRICS_HOST: '::1' })).toBe('')
  })
})
