/** The duration of a sign-in does not reveal whether the account exists. */
import { beforeAll, expect, test } from 'bun:test'
import { login } from '../../support/auth.ts'
import { freshEmail, makeTenant, makeUser, type Tenant } from '../../support/people.ts'
import { describeBackends, hashingServer, type TestServer } from '../../support/server.ts'

const rounds = 20

describeBackends('login', (backend) => {
  let server: TestServer
  let tenant: Tenant
  beforeAll(async () => {
    server = await hashingServer(backend)
    tenant = await makeTenant(server)
  })

  test('an unknown address takes as long as a wrong password', async () => {
    const ann = await makeUser(server, tenant)
    const times = { wrong: [] as number[], unknown: [] as number[] }
    for (let round = 0; round < rounds; round++) {
      times.wrong.push(await duration(() => login(server, ann.email, 'not the password')))
      times.unknown.push(await duration(() => login(server, freshEmail('nobody'), 'not the password')))
    }
    const ratio = lowerQuartile(times.unknown) / lowerQuartile(times.wrong)
    expect(ratio).toBeGreaterThan(0.6)
    expect(ratio).toBeLessThan(1.7)
  })
})

async function duration(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

/** Other load on the machine only makes times longer, never shorter. */
const lowerQuartile = (values: number[]): number => values.toSorted((a, b) => a - b)[values.length >> 2] ?? 0
