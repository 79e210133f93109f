/** When the machine's clock jumps forward or back, nobody is locked out and lists keep their order. */
import { expect, test } from 'bun:test'
import { asBearer, later, refresh } from '../support/auth.ts'
import { addItem, makeList, makeTenant, makeUser, type Person } from '../support/people.ts'
import { describeBackends, sharedServer, type TestServer } from '../support/server.ts'

const hour = 3600

const renewed = async (server: TestServer, person: Person): Promise<Person> => {
  const { status, body } = await refresh(server, person.refreshToken)
  expect(status).toBe(200)
  const { access_token: accessToken, refresh_token: refreshToken } = body
  return { ...person, accessToken, refreshToken, api: asBearer(server, accessToken) }
}

const numbers = async ({ api }: Person, listId: string): Promise<number[]> =>
  (await api.get(`/shopping-lists/${listId}/events`)).body.data.map(({ seq }: { seq: number }) => seq)

describeBackends('when the clock jumps', (backend) => {
  test('forward, tokens expire and a refresh issues valid ones; back again, so does the next refresh', async () => {
    const server = await sharedServer(backend)
    const ann = await makeUser(server, await makeTenant(server))
    const { id } = await makeList(ann)
    await addItem(ann, id)
    const ahead = await later(hour, async () => {
      expect((await ann.api.get('/auth/me')).body.code).toBe('token_expired')
      const renewedAnn = await renewed(server, ann)
      await addItem(renewedAnn, id)
      expect((await renewedAnn.api.get('/auth/me')).status).toBe(200)
      return renewedAnn
    })
    // A token from the future is refused, but the session continues.
    expect((await ahead.api.get('/auth/me')).status).toBe(401)
    const back = await renewed(server, ahead)
    await addItem(back, id)
    expect(await numbers(back, id)).toEqual([1, 2, 3])
    const lists = (await back.api.get('/shopping-lists')).body.data
    expect(lists.map(({ id: listId }: { id: string }) => listId)).toEqual([id])
  })

  test('timestamps of one list never decrease', async () => {
    const server = await sharedServer(backend)
    const ann = await makeUser(server, await makeTenant(server))
    const { id } = await makeList(ann)
    await later(60, () => addItem(ann, id))
    await addItem(ann, id)
    await later(-20, () => addItem(ann, id))
    const { data } = (await ann.api.get(`/shopping-lists/${id}/events`)).body
    const times = data.map(({ at }: { at: string }) => at)
    expect(times).toEqual(times.toSorted())
    expect(new Set(times).size).toBe(times.length)
  })
})
