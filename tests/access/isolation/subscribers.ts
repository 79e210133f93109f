/** Subscribers in both tenants while one attacks the other. */
import { openSocket, type TestSocket } from '../../support/socket.ts'
import { type Mirror, secretsOf } from './mirror.ts'

export interface Subscribers {
  theirs: TestSocket
  mine: TestSocket
  /** Messages received so far that belong to the other tenant. */
  faults(): Promise<string[]>
  close(): Promise<void>
}

export async function subscribersOf({ server, mine, theirs }: Mirror): Promise<Subscribers> {
  const sockets = {
    theirs: await openSocket(server, theirs.people.owner.accessToken),
    mine: await openSocket(server, mine.people.owner.accessToken),
  }
  const lists = { theirs: [theirs.own.list, theirs.twin.list], mine: [mine.single.list, mine.twin.list] }
  for (const list of lists.theirs) await sockets.theirs.follow(list)
  for (const list of lists.mine) await sockets.mine.follow(list)
  const secrets = { theirs: secretsOf(mine), mine: secretsOf(theirs) }
  const faultsOf = async (side: 'theirs' | 'mine'): Promise<string[]> => {
    await sockets[side].settled()
    return sockets[side].messages
      .map((message) => JSON.stringify(message))
      .filter((text) => secrets[side].some((secret) => text.includes(secret)))
  }
  return {
    ...sockets,
    faults: async () => [...(await faultsOf('theirs')), ...(await faultsOf('mine'))],
    async close() {
      for (const side of ['theirs', 'mine'] as const) {
        for (const list_id of lists[side]) {
          sockets[side].send('unsubscribe', { list_id })
          await sockets[side].next('unsubscribed')
        }
        sockets[side].close()
      }
    },
  }
}
