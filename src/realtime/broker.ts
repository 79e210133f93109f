import type { ListEvent, ListKey } from '../features/list-changes/events.ts'

/**
 * Relays committed events between the instances of the service. Delivery is best effort: events may arrive late,
 * twice, out of order or never. Streams restore order and completeness from `seq` and list_events.
 */
export interface Broker {
  /**
   * To be called after the commit; returns without waiting and never throws.
   * @param requestId the request that made the events, for correlating logs of all instances
   */
  publish(list: ListKey, events: readonly ListEvent[], requestId?: string | null): void
  /** Once it resolves, events published anywhere reach `onEvents`, unless the connection is down. */
  listen(list: ListKey): Promise<void>
  unlisten(list: ListKey): void
  /** Messages that were dropped: not from an instance of this installation, malformed or of a newer release. */
  dropped(): number
  state(): BrokerState
  close(): Promise<void>
}

/** `refused`: the backend answers, but does not let this user subscribe or publish. */
export type BrokerState = 'up' | 'down' | 'refused'

export interface BrokerHandlers {
  onEvents(list: ListKey, events: readonly ListEvent[], requestId: string | null): void
  /** Somebody, anybody perhaps, says that the list has changed. */
  onHint(list: ListKey): void
  /** Connected, for the first time or again. Events may have been lost before. */
  onReconnect(): void
}

export const topicOf = ({ tenantId, listId }: ListKey): string => `list:${tenantId}:${listId}`

/** For a single instance. */
export function createLocalBroker({ onEvents }: BrokerHandlers): Broker {
  const listened = new Set<string>()
  return {
    publish: (list, events, requestId = null) => {
      if (listened.has(topicOf(list))) onEvents(list, events, requestId)
    },
    listen: async (list) => {
      listened.add(topicOf(list))
    },
    unlisten: (list) => {
      listened.delete(topicOf(list))
    },
    dropped: () => 0,
    state: () => 'up',
    close: async () => undefined,
  }
}
