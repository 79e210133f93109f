/**
 * Whoever an address belongs to, asking for a code or a link does the same work before the answer: the same calls of the
 * database and the store in the same order, and a row of the same size. So nothing but noise is left of the time.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { SQL } from 'drizzle-orm'
import { compileStatement } from '../../../src/db/statement.ts'
import { makeUnverified, onceArrived } from '../../support/auth.ts'
import { createClient } from '../../support/client.ts'
import { freshEmail, makeTenant, makeUser, superAdmin } from '../../support/people.ts'
import { describeBackends, startServer, type TestServer } from '../../support/server.ts'

/** Calls `note` before each call of these methods, until the returned function is called. */
function tap(target: object, methods: string[], note: (method: string, call: unknown[]) => void): () => void {
  const kept = { ...target }
  for (const method of methods) {
    const original = Reflect.get(target, method)
    Reflect.set(target, method, (...call: unknown[]) => {
      note(method, call)
      return Reflect.apply(original, target, call)
    })
  }
  return () => void Object.assign(target, kept)
}

const queuedBytes = (statements: unknown[]): number[] =>
  (statements as SQL[])
    .map(compileStatement)
    .filter(({ text }) => text.includes('insert into mail_outbox'))
    .map(({ parameters }) => Math.max(...parameters.map((value) => value?.length ?? 0)))

const isPoll = (statements: unknown[]): boolean =>
  (statements as SQL[]).some((statement) => compileStatement(statement).text.includes('from revocations'))

/** What is done until the answer. */
async function stepsOf({ running: { deps } }: TestServer, work: () => Promise<unknown>): Promise<string[]> {
  const steps: string[] = []
  const stores = ['get', 'set', 'compareAndSet', 'increment', 'delete']
  const untap = [
    tap(deps.store, stores, (method) => void steps.push(method === 'get' ? 'store read' : 'store write')),
    tap(deps.db, ['read', 'write', 'transaction'], (method, [scope, ...statements]) => {
      if (scope === 'outbox' || isPoll(statements)) return
      steps.push(`${statements.length} database ${method} ${queuedBytes(statements)}`.trim())
    }),
    tap(deps.limits, ['mayMail'], () => void steps.push('limit')),
  ]
  try {
    await work()
    return steps
  } finally {
    for (const end of untap) end()
  }
}

describeBackends('asking for a code or a link', (backend) => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer(backend, { RATE_LIMIT_MAIL: '20/day' })
  })
  afterAll(() => server.stop())

  async function makeAddresses(): Promise<Record<string, string>> {
    const root = await superAdmin(server)
    const [tenant, closed] = [await makeTenant(server), await makeTenant(server)]
    const gone = await makeUser(server, tenant)
    await tenant.admin.api.delete(`/users/${gone.id}`)
    await root.api.delete(`/tenants/${closed.id}`)
    return {
      known: (await makeUser(server, tenant)).email,
      unverified: (await makeUnverified(server, tenant)).email,
      unknown: freshEmail('nobody'),
      deactivated: gone.email,
      'of a deactivated tenant': closed.admin.email,
    }
  }

  test.each(['/auth/forgot-password', '/auth/resend-otp'])('%s takes the same steps', async (path) => {
    const addresses = await makeAddresses()
    const before = server.inbox.mails.length
    const expected = await stepsOf(server, () =>
      createClient(server.url).post(path, { email: addresses['unknown'] }),
    )
    expect(expected.at(-1)).toMatch(/^\d database write \d{4}$/)
    // Mailed, while the last mail is on its way, mailed again, and past the limit.
    for (const seconds of [121, 130, 242, 363, 484, 605, 726])
      for (const [kind, email] of Object.entries(addresses)) {
        const ask = () => createClient(server.url).post(path, { email })
        const steps = await onceArrived(server, () => stepsOf(server, ask), seconds)
        expect([kind, seconds, steps]).toEqual([kind, seconds, expected])
      }
    expect(server.inbox.mails.length - before).toBeGreaterThan(3)
  })
})
