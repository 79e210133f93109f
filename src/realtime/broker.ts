import type { ListEvent, ListKey } from '../features/list-changes/events.ts'

/**
 * Carries committed events between the instances of the service, and nothing but hints: one may come late, twice, out
 * of order or never. Order and completeness are the stream's business, from `seq` and list_events.
 *
 * publish: after the commit, never before; does not wait and does not throw.
 * listen: from the moment it resolves, events that are published reach the handler, as far as the carrier works.
 */
export interface Broker {
  /** @param requestId the request that made the events, for the logs of all who hear of them */
  publish(list: ListKey, events: readonly ListEvent[], requestId?: string | null): void
  listen(list: ListKey): Promise<void>
  unlisten(list: ListKey): void
  close(): Promise<void>
}

export interface BrokerHandlers {
  onEvents(list: ListKey, events: readonly ListEvent[], requestId: string | null): void
  /** The carrier was away or may have been: every stream should look at the database. */
  onDoubt(): void
}

export const topicOf = ({ tenantId, listId }: ListKey): string => `list:${tenantId}:${listId}`

/** Within one process a publish is a function call. */
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
    close: async () => undefined,
  }
}
