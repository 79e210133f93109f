/** Which networks an account knows: those it was signed in from lately, whatever else is in the store. */
import { expect, test } from 'bun:test'
import { createKnownNetworks } from '../../src/access/known-networks.ts'
import { mac } from '../../src/lib/keys.ts'
import { freshEmail } from '../support/people.ts'
import { type Backend, describeBackends, sharedServer } from '../support/server.ts'

const key = Buffer.alloc(32, 7)
const dayMs = 86_400_000

async function known(backend: Backend) {
  const { store } = (await sharedServer(backend)).running.deps
  const unfit: string[] = []
  const clock = { ms: Date.now() }
  return {
    clock,
    store,
    unfit,
    networks: createKnownNetworks(
      store,
      key,
      (kind) => void unfit.push(kind),
      () => clock.ms,
    ),
  }
}

describeBackends('the networks that an account knows', (backend) => {
  test('are those that it was signed in from, and of nobody else', async () => {
    const { networks } = await known(backend)
    const [ann, ben] = [freshEmail(), freshEmail()]
    await networks.remember(ann, '192.0.2.1')
    await networks.remember(ann, '2001:db8:1:2::3')
    const asked: [string, string, boolean][] = [
      [ann, '192.0.2.1', true],
      [ann, '192.0.2.2', false],
      [ann, '2001:db8:1:2:ffff::', true],
      [ann, '2001:db8:1:3::3', false],
      [ben, '192.0.2.1', false],
    ]
    for (const [email, address, expected] of asked)
      expect([email, address, await networks.includes(email, address)]).toEqual([email, address, expected])
  })

  test('are forgotten after 30 days without a sign-in, and past the last twenty', async () => {
    const { clock, networks } = await known(backend)
    const ann = freshEmail()
    await networks.remember(ann, '192.0.2.1')
    clock.ms += 29 * dayMs
    expect(await networks.includes(ann, '192.0.2.1')).toBe(true)
    await networks.remember(ann, '192.0.2.2')
    clock.ms += 2 * dayMs
    expect(await networks.includes(ann, '192.0.2.1')).toBe(false)
    expect(await networks.includes(ann, '192.0.2.2')).toBe(true)
    for (let count = 3; count <= 22; count++) await networks.remember(ann, `192.0.2.${count}`)
    expect(await networks.includes(ann, '192.0.2.2')).toBe(false)
    expect(await networks.includes(ann, '192.0.2.3')).toBe(true)
  })

  test('are all remembered when several sign in at the same moment', async () => {
    const { networks } = await known(backend)
    const ann = freshEmail()
    const addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.3']
    await Promise.all(addresses.map((address) => networks.remember(ann, address)))
    for (const address of addresses) expect(await networks.includes(ann, address)).toBe(true)
  })

  test('are none where the entry does not fit, until the next sign-in', async () => {
    const { networks, store, unfit } = await known(backend)
    const ann = freshEmail()
    for (const value of ['no json', '{"version":2}', '{"version":1,"networks":[1]}', '5']) {
      await store.set(`known-networks:${mac(key, ann)}`, value, 60)
      expect(await networks.includes(ann, '192.0.2.1')).toBe(false)
      await networks.remember(ann, '192.0.2.1')
      expect(await networks.includes(ann, '192.0.2.1')).toBe(true)
    }
    expect(unfit).toContain('known networks')
  })
})
