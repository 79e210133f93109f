/**
 * Notices a connection to Redis on which nothing is answered any more. The driver does so only where there is no
 * traffic: to its socketTimeout whatever is written is a sign of life, and its ping is not repeated before an answer.
 */

/** What of a client, of a single server or of a node of a cluster, is needed to replace its connection. */
export interface Reconnectable {
  readonly isReady: boolean
  destroy(): void
  connect(): Promise<unknown>
}

/** A connection with commands on it that answers none for this long is given up at the next command. */
const silenceMs = 2000

/** @returns runs a command; `onSilent` is called when the client's connection has been given up, and is being replaced */
export function createSilenceWatch() {
  const watched = new WeakMap<Reconnectable, { unanswered: number; quietSince: number }>()
  return async <T>(
    client: Reconnectable,
    command: () => Promise<T>,
    onSilent: (error: Error) => void,
  ): Promise<T> => {
    const now = performance.now()
    const state = watched.get(client) ?? { unanswered: 0, quietSince: now }
    watched.set(client, state)
    if (state.unanswered === 0) state.quietSince = now
    else if (client.isReady && now - state.quietSince > silenceMs) {
      state.quietSince = now
      client.destroy()
      // Goes on trying until the store is closed.
      client.connect().catch(() => undefined)
      onSilent(new Error('the connection to Redis was given up: nothing was answered on it'))
    }
    state.unanswered += 1
    try {
      return await command()
    } finally {
      state.unanswered -= 1
      state.quietSince = performance.now()
    }
  }
}
