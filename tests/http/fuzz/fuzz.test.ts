/**
 * Generated requests to every route, as every role, on both backends. A failure prints the seed; set MINIMART_FUZZ_SEED
 * to repeat it.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { createDocumentedApp } from '../../../src/app.ts'
import { openapiDocument } from '../../../src/http/docs/openapi.ts'
import { isRecord } from '../../support/json-schema.ts'
import { bytesOf, exchange, type RawRequest } from '../../support/raw-http.ts'
import { report, rounds, seedOf } from '../../support/rounds.ts'
import { describeBackends, startServer, type TestServer } from '../../support/server.ts'
import type { FuzzBody, FuzzRoute } from './bodies.ts'
import { type FuzzRequest, fuzzRequest } from './requests.ts'
import { faultsOf } from './verdict.ts'
import { digestOf, fillIn, makeWorld, type World } from './world.ts'

const seed = seedOf('FUZZ')
/** Enough that each status below occurs. The embedded database, where a request costs three times as much, gets a share. */
const suiteRuns = { full: 600, embedded: 150 }
const answerWithinMs = 5000
const unreadBytes = 64 * 1024
/** Successful requests wear the world out: users are deactivated, lists deleted, sessions ended. */
const worldLastsFor = 300

const document: Record<string, unknown> = { ...(await openapiDocument(createDocumentedApp())) }
const routes: FuzzRoute[] = createDocumentedApp()
  .routes.filter(({ path }) => !path.startsWith('/docs/') && !path.startsWith('/pages/'))
  .map(({ method, path }) => ({ method, path, example: exampleFor(method, path) }))

describeBackends('any request', (backend) => {
  const runs = rounds('FUZZ', { suite: suiteRuns[backend], long: 20_000 })
  const runWithinMs = runs * 100
  let server: TestServer
  beforeAll(async () => {
    server = await startServer(backend)
  })
  afterAll(() => server.stop())

  test(
    'is answered in time and as documented, never with an internal error, and changes nothing when refused',
    async () => {
      const seen = new Map<number, number>()
      let world = await makeWorld(server)
      let age = 0
      const property = fc.asyncProperty(fuzzRequest(routes), async (request) => {
        if (++age > worldLastsFor) {
          world = await makeWorld(server)
          age = 0
        }
        const status = await check(server, world, request)
        seen.set(status, (seen.get(status) ?? 0) + 1)
      })
      await fc.assert(property, {
        seed,
        numRuns: runs,
        interruptAfterTimeLimit: runWithinMs,
        markInterruptAsFailure: false,
      })
      // Proves that requests got past authentication and validation.
      for (const status of runs < suiteRuns.full ? [] : [200, 201, 204, 400, 401, 403, 404, 405, 415, 422])
        expect(seen.get(status) ?? 0, `answers with ${status}, seed ${seed}`).toBeGreaterThan(0)
      const requests = [...seen.values()].reduce((sum, count) => sum + count, 0)
      report(`${requests} requests, seed ${seed}, by status: ${JSON.stringify(Object.fromEntries(seen))}`)
      const faults = server.log.lines.filter(({ level }) => level === 'error')
      expect(faults).toEqual([])
    },
    runWithinMs + 60_000,
  )
})

async function check(server: TestServer, world: World, request: FuzzRequest): Promise<number> {
  const raw = concrete(request, world)
  const before = await digests(server, world)
  const answer = await exchange(server.url, bytesOf(raw), answerWithinMs)
  const after = await digests(server, world)
  // An unwanted body is not read; closing the connection with data in flight can lose the answer
  // (RFC 9112, section 9.6).
  if (answer === null && raw.method === 'GET' && (raw.body?.length ?? 0) > unreadBytes) return 0
  if (answer === null) throw new Error(`no answer to ${raw.method} ${raw.target}`)
  const requestIds = raw.headers.filter(([name]) => name === 'X-Request-Id').map(([, value]) => value)
  const requestId = requestIds.length === 1 ? requestIds[0] : undefined
  const faults = faultsOf(document, { method: raw.method, target: raw.target, requestId }, answer)
  if (answer.status >= 400 && after.join() !== before.join()) faults.push('refused, yet rows have changed')
  if (
    request.caller !== 'root' &&
    request.caller !== 'other' &&
    after[1] !== before[1] &&
    !usesOtherTenant(raw)
  )
    faults.push('rows of another tenant have changed')
  if (faults.length > 0)
    throw new Error(
      `${request.caller}: ${raw.method} ${raw.target} → ${answer.status} ${answer.body.toString('utf8').slice(0, 500)}\n  ${faults.join('\n  ')}`,
    )
  return answer.status
}

/** The public routes for passwords and codes work for any address in any tenant. */
const usesOtherTenant = ({ target }: RawRequest): boolean => target.startsWith('/api/v1/auth/')

const digests = (server: TestServer, world: World): Promise<string[]> =>
  Promise.all([world.tenantId, world.otherTenantId, null].map((tenantId) => digestOf(server, tenantId)))

function concrete(request: FuzzRequest, { tokens, names }: World): RawRequest {
  const parameters = [...request.parameters]
  const path = request.route.path.replace(/:\w+/g, () => parameters.shift() ?? 'x').replace(/(?<=.)\/$/, '')
  const token = tokens[request.caller]
  const own = request.headers.map(([name, value]): [string, string] => [name, fillIn(value, names)])
  const signedIn = token !== undefined && token !== '' && !own.some(([name]) => name === 'Authorization')
  return {
    method: request.method,
    // A space or control character would end the request line; raw-requests.test.ts sends those.
    target: fillIn(path + request.query, names).replace(/[\s\p{Cc}]/gu, '+'),
    headers: [...(signedIn ? [['Authorization', `Bearer ${token}`] satisfies [string, string]] : []), ...own],
    body: request.body === null ? null : encode(request.body, names),
    chunked: request.body?.chunked ?? false,
  }
}

function encode({ text, bytes, encoding }: FuzzBody, names: Record<string, string>): Uint8Array {
  if (text === null) return bytes
  const filled = fillIn(text, names)
  return encoding === 'gzip' ? gzipSync(filled) : Buffer.from(filled, encoding)
}

function exampleFor(method: string, path: string): Record<string, unknown> | null {
  const documented = path.replace(/:(\w+)/g, '{$1}').replace(/(?<=.)\/$/, '')
  const at = (value: unknown, ...keys: string[]): unknown =>
    keys.reduce((inner, key) => (isRecord(inner) ? inner[key] : undefined), value)
  const example = at(
    document,
    'paths',
    documented,
    method.toLowerCase(),
    'requestBody',
    'content',
    'application/json',
    'example',
  )
  return isRecord(example) ? example : null
}
