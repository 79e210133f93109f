/** The main use case, from an empty service to bought groceries. */
import { expect, test } from 'bun:test'
import { addItem, join, makeList, makeTenant, makeUser } from '../support/people.ts'
import { describeBackends, sharedServer } from '../support/server.ts'

describeBackends('the main job', (backend) => {
  test('two people share a list, add to it and buy', async () => {
    const server = await sharedServer(backend)
    const tenant = await makeTenant(server, 'Corner house')
    const ann = await makeUser(server, tenant, { name: 'Ann' })
    const ben = await makeUser(server, tenant, { name: 'Ben' })
    const list = await makeList(ann, 'Weekend')
    await join(ann, list.id, ben)
    const milk = await addItem(ann, list.id, { name: 'Milk', quantity: 2, unit: 'l' })
    await addItem(ben, list.id, { name: 'Bread' })
    const bought = await ben.api.patch(`/items/${milk.id}`, { status: 'purchased' })
    expect(bought.body).toMatchObject({ status: 'purchased', purchased_by: ben.id, version: 2 })

    const seen = await ann.api.get(`/shopping-lists/${list.id}`)
    expect(seen.body).toMatchObject({ seq: 4, role: 'owner', name: 'Weekend' })
    expect(seen.body.items.map((item: { name: string }) => item.name)).toEqual(['Milk', 'Bread'])
    const events = await ann.api.get(`/shopping-lists/${list.id}/events?since=0`)
    expect(events.body.data.map((event: { seq: number; type: string }) => [event.seq, event.type])).toEqual([
      [1, 'member_joined'],
      [2, 'item_added'],
      [3, 'item_added'],
      [4, 'item_updated'],
    ])
    expect(events.body).toMatchObject({ seq: 4, complete: true })
  })
})
