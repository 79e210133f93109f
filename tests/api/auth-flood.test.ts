/** Hashing passwords is dear: a flood of sign-ins is turned away, and nobody else waits for it. */
import { beforeAll, expect, test } from 'bun:test'
import { login } from '../support/auth.ts'
import { freshEmail } from '../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../support/server.ts'

const floodSize = 250

describeBackends('a flood of sign-ins', (backend) => {
  let server: TestServer
  beforeAll(async () => {
    server = await sharedServer(backend)
  })

  test('is answered 503 with Retry-After past the bound, while other calls stay fast', async () => {
    let over = false
    const flood = Promise.all(
      Array.from({ length: floodSize }, () => login(server, freshEmail('flood'), 'not the password')),
    ).finally(() => {
      over = true
    })
    const waits: number[] = []
    let mostAtOnce = 0
    while (!over) {
      const begun = performance.now()
      const answer = await fetch(`${server.url}/healthz`)
      await answer.text()
      expect(answer.status).toBe(200)
      waits.push(performance.now() - begun)
      const { running, waiting } = server.running.deps.passwords.load()
      mostAtOnce = Math.max(mostAtOnce, running + waiting)
    }
    const answers = await flood
    const busy = answers.filter(({ status }) => status === 503)
    expect(busy.length).toBeGreaterThan(0)
    for (const { body, headers } of busy) {
      expect(body.code).toBe('busy')
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
    }
    const served = answers.filter(({ status }) => status === 401)
    expect(served.length).toBe(floodSize - busy.length)
    expect(served.length).toBeGreaterThan(0)
    expect(mostAtOnce).toBeLessThanOrEqual(80)
    expect(waits.length).toBeGreaterThan(3)
    expect(waits.toSorted((a, b) => a - b)[waits.length >> 1]).toBeLessThan(250)
    expect((await login(server, server.superAdmin.email, server.superAdmin.password)).status).toBe(200)
  })
})
