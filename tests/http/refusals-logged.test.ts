/** Strangers can be refused as often as they like: past 100 a second their lines are counted, and no other line is. */
import { expect, test } from 'bun:test'
import { createSampler } from '../../src/log.ts'
import { makeTenant } from '../support/people.ts'
import { describeService, sharedServer } from '../support/server.ts'
import { until } from '../support/until.ts'

const leftOutMessage = 'refused requests were left out of the log'

describeService('a flood of refusals', (backend) => {
  test('to callers who are not signed in is logged in part, with the number of the rest', async () => {
    const server = await sharedServer(backend)
    const { admin } = await makeTenant(server)
    const before = server.log.lines.length
    const strangers = [
      ...['/nope', '/api/v1/auth/me', '/api/v1/shopping-lists', '/api/v1/auth/login'].map(
        (path) => () => fetch(`${server.url}${path}`),
      ),
      () => fetch(`${server.url}/api/v1/auth/login`, { method: 'POST', body: '{' }),
    ]
    const calls = Array.from({ length: 500 }, async (_, index) => {
      const { status } = (await strangers[index % strangers.length]?.()) ?? {}
      expect(status).toBeWithin(400, 500)
    })
    const ours = Array.from({ length: 30 }, async () => {
      expect((await admin.api.get(`/shopping-lists/${admin.id}`)).status).toBe(404)
      expect((await fetch(`${server.url}/openapi.json`)).status).toBe(200)
    })
    await Promise.all([...calls, ...ours])

    const lines = () => server.log.lines.slice(before)
    const requests = () => lines().filter(({ message }) => message === 'request')
    const refused = () =>
      requests().filter(({ fields }) => fields?.['user_id'] === null && Number(fields['status']) >= 400)
        .length
    const leftOut = () =>
      lines()
        .filter(({ message }) => message === leftOutMessage)
        .reduce((sum, { fields }) => sum + Number(fields?.['count']), 0)
    const of = (field: string, value: string) =>
      requests().filter(({ fields }) => fields?.[field] === value).length
    const all = () => ({
      refused: refused() + leftOut(),
      ofAdmin: of('user_id', admin.id),
      ofDocument: of('route', '/openapi.json'),
    })
    // A line may come after its answer.
    const expected = { refused: 500, ofAdmin: 30, ofDocument: 30 }
    await until(
      () => Bun.deepEquals(all(), expected),
      () => JSON.stringify(all()),
      10_000,
    )
    expect(all()).toEqual(expected)
    expect(leftOut()).toBeGreaterThan(0)
  })
})

test('a sampler passes the first of each second and reports the number of the others', async () => {
  const reports: number[] = []
  const isPassed = createSampler(10, (leftOut) => reports.push(leftOut))
  const passed = (calls: number) => Array.from({ length: calls }, isPassed).filter(Boolean).length
  expect(passed(25)).toBe(10)
  expect(passed(5)).toBe(0)
  await until(() => reports.length === 1, 'a report')
  expect(reports).toEqual([20])
  expect(passed(11)).toBe(10)
})
