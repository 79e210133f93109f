/** What one list, user or crowd waits for, others do not notice. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import postgres from 'postgres'
import { type Answer, createClient } from '../../support/client.ts'
import { addItem, makeList, makeTenant, makeUser, type Person, type Tenant } from '../../support/people.ts'
import { describeFull, sharedServer, type TestServer } from '../../support/server.ts'
import { until } from '../../support/until.ts'

/** Of one user, and of all callers who are not signed in (src/db/shares.ts). */
const shares = { user: 100, unsigned: 200 }

describeFull('while a list cannot be written', () => {
  let server: TestServer
  let admin: postgres.Sql
  let tenant: Tenant
  let ann: Person
  let stranger: Person
  let list: { id: string }
  let elsewhere: { id: string }

  beforeAll(async () => {
    server = await sharedServer('full')
    admin = postgres(server.environment['DATABASE_URL'] ?? '', { max: 1, onnotice: () => undefined })
    tenant = await makeTenant(server)
    ann = tenant.admin
    stranger = (await makeTenant(server)).admin
    list = await makeList(ann)
    elsewhere = await makeList(stranger)
  })
  afterAll(() => admin.end({ timeout: 2 }))

  const whileListIsLocked = (work: () => Promise<void>): Promise<unknown> =>
    admin.begin(async (holder) => {
      await holder`select from shopping_lists where id = ${list.id} for update`
      await work()
    })
  const whileUsersAreLocked = (work: () => Promise<void>): Promise<unknown> =>
    admin.begin(async (holder) => {
      await holder`lock table users in access exclusive mode`
      await work()
    })
  /** Starts calls and counts their answers. */
  const start = (count: number, call: (index: number) => Promise<Answer>) => {
    const answers: Answer[] = []
    const done = Promise.all(
      Array.from({ length: count }, async (_, index) => void answers.push(await call(index))),
    )
    return { answers, done }
  }
  const add = (person: Person, listId: string) =>
    person.api.post(`/shopping-lists/${listId}/items`, { name: 'Milk' })
  const statusesOf = (answers: Answer[]): Set<number> => new Set(answers.map(({ status }) => status))

  test('its writers wait, and nobody else does: reads, other tenants, readiness', async () => {
    const items = await Promise.all(Array.from({ length: 20 }, () => addItem(ann, list.id)))
    const other = await makeList(ann)
    let writes: ReturnType<typeof start> | undefined
    await whileListIsLocked(async () => {
      writes = start(40, (index) => {
        const item = items[index]
        return item ? ann.api.patch(`/items/${item.id}`, { note: 'late' }) : add(ann, list.id)
      })
      for (let round = 0; round < 10; round++) {
        const answers = [
          await add(stranger, elsewhere.id),
          await stranger.api.get(`/shopping-lists/${elsewhere.id}`),
          await ann.api.get(`/shopping-lists/${list.id}`),
          await add(ann, other.id),
        ]
        for (const { status } of answers) expect(status).toBeWithin(200, 202)
        expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
      }
      expect(writes.answers).toEqual([])
    })
    await writes?.done
    expect(statusesOf(writes?.answers ?? [])).toEqual(new Set([200, 201]))
  })

  test('one user holds at most a tenth of the queue; others of the tenant find room', async () => {
    const bob = await makeUser(server, tenant, { role: 'tenant_admin' })
    let writes: ReturnType<typeof start> | undefined
    await whileListIsLocked(async () => {
      writes = start(shares.user + 20, () => add(ann, list.id))
      const { answers } = writes
      await until(() => answers.length >= 20, 'refusals')
      for (const { status, body } of answers)
        expect({ status, code: body.code }).toEqual({ status: 503, code: 'busy' })
      expect((await ann.api.get(`/shopping-lists/${list.id}/items`)).status).toBe(503)
      expect((await bob.api.get(`/shopping-lists/${list.id}/items`)).status).toBe(200)
      expect(answers).toHaveLength(20)
    })
    await writes?.done
    expect(writes?.answers.filter(({ status }) => status === 201)).toHaveLength(shares.user)
  })

  test('callers without a user hold at most a fifth of it; whoever is signed in finds room', async () => {
    let logins: ReturnType<typeof start> | undefined
    await whileUsersAreLocked(async () => {
      logins = start(shares.unsigned + 20, (index) =>
        createClient(server.url).post('/auth/login', { email: `${index}@shop.example`, password: 'no such' }),
      )
      const { answers } = logins
      await until(() => answers.length >= 20, 'refusals')
      for (const { status, body } of answers)
        expect({ status, code: body.code }).toEqual({ status: 503, code: 'busy' })
      for (let round = 0; round < 10; round++) {
        expect((await ann.api.get(`/shopping-lists/${list.id}/items`)).status).toBe(200)
      }
      expect(answers).toHaveLength(20)
    })
    await logins?.done
  })
})
