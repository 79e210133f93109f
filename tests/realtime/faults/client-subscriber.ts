/**
 * The service's own client as a subscriber, behind a proxy in place of the balancer that picks an instance for each new
 * connection after a move. It must report every event once, in order, and end in the right state.
 */
import { createMemoryStorage, createMiniMart, type ListState, type User } from '../../../src/client/index.ts'
import { quick } from '../../client/setup.ts'
import type { Person } from '../../support/people.ts'
import { type BadNetwork, startProxy } from '../../support/proxy.ts'
import type { Known, Subscriber } from './subscriber.ts'

export interface ClientSubscriberOptions {
  name: string
  person: Person
  /** As the API returns it. */
  user: User
  route: () => string
  random: () => number
  listIds: readonly string[]
  problem: (text: string) => void
}

const sessionMs = 600_000

export async function startClientSubscriber(options: ClientSubscriberOptions): Promise<Subscriber> {
  const { name, person, user, route, random, listIds } = options
  const problem = (text: string): void => options.problem(`${name}: ${text}`)
  const network: BadNetwork = await startProxy(route())
  const tokens = createMemoryStorage()
  await tokens.save({
    access_token: person.accessToken,
    refresh_token: person.refreshToken,
    expires_at: Date.now() + sessionMs,
    user,
  })
  const mart = createMiniMart({ baseUrl: network.url, tokens, random, timing: quick })
  // A balancer does not keep sending connections where the last one failed.
  const balancing = setInterval(() => network.retarget(route()), 100)

  const followed = listIds.map((listId): [string, Known] => {
    let last: number | null = null
    let first = true
    const following = mart.subscribe(listId, {
      onState(state) {
        if (last === null) last = state.seq
        else if (state.seq < last) problem(`the state fell back from ${last} to ${state.seq}`)
      },
      onEvent({ seq }) {
        if (first) last = seq
        else if (seq !== (last ?? 0) + 1) problem(`after ${last} came ${seq}`)
        first = false
        last = seq
      },
      onStatus(status) {
        if (status.phase === 'ended' && status.reason !== 'closed') problem(`ended: ${status.reason}`)
      },
    })
    return [
      listId,
      {
        listId,
        seq: () => (following.status().phase === 'live' ? (following.state()?.seq ?? -1) : -1),
        differences(truth) {
          const state = following.state()
          return state ? differencesOf(state, truth) : ['knows nothing']
        },
      },
    ]
  })

  return {
    name,
    replicas: new Map(followed),
    connections: network.accepted,
    hop: network.cut,
    pause: mart.wake,
    stop() {
      clearInterval(balancing)
      mart.close()
      void network.stop()
    },
  }
}

function differencesOf(state: ListState, truth: Parameters<Known['differences']>[0]): string[] {
  const mine = new Map(state.items.map((item) => [item.id as unknown, item]))
  return [
    ...(state.seq === truth.seq ? [] : [`is at ${state.seq}, not ${truth.seq}`]),
    ...(state.list.name === truth.name ? [] : [`is named ${state.list.name}, not ${truth.name}`]),
    ...(mine.size === truth.items.length ? [] : [`has ${mine.size} items, not ${truth.items.length}`]),
    ...truth.items
      .filter((item) => !Bun.deepEquals(mine.get(item['id']), item))
      .map((item) => `differs in item ${item['id']}`),
  ]
}
