import type { ListState } from './apply.ts'
import { isEvent, type ListEvent, type ServerMessage } from './messages.ts'
import { createReconnectingSocket, type ReconnectingSocketDeps, type SocketTiming } from './socket.ts'
import type { EndReason, SubscriptionStatus } from './status.ts'
import { createListSubscription, type ListSubscription, type ListSubscriptionDeps } from './subscription.ts'
import { createAlarm } from './timing.ts'
import type { Id } from './types.ts'

export interface SubscriptionHandlers {
  /** Called with every new state; events that arrive together are applied together. */
  onState?: (state: ListState) => void
  onStatus?: (status: SubscriptionStatus) => void
  /** Called with each event after the state that contains it. A snapshot brings no events. */
  onEvent?: (event: ListEvent) => void
}

export interface Subscription {
  /** Null until the first snapshot. */
  state(): ListState | null
  status(): SubscriptionStatus
  /** No handler is called after it. */
  close(): void
}

export interface SubscriptionTiming extends SocketTiming {
  /** A `subscribe` that is not answered by then is sent again. */
  answerMs: number
  /** The socket stays open so long after the last subscription was closed. */
  lingerMs: number
}

export interface SubscriptionsDeps
  extends Pick<ReconnectingSocketDeps, 'url' | 'WebSocket' | 'session' | 'now' | 'random'>,
    Pick<ListSubscriptionDeps, 'self'> {
  timing: SubscriptionTiming
  /** Receives what a handler throws. */
  onHandlerError: (error: unknown) => void
  readList: (listId: Id, signal: AbortSignal) => ReturnType<ListSubscriptionDeps['readList']>
}

/** All subscriptions over one socket, opened with the first list and closed a while after the last. */
export interface Subscriptions {
  subscribe(listId: Id, handlers: SubscriptionHandlers): Subscription
  wake(): void
  endAll(reason: EndReason): void
}

/** Handlers of one list share its subscription. */
interface Shared {
  subscription: ListSubscription
  handlers: Set<SubscriptionHandlers>
}

export function createSubscriptions(deps: SubscriptionsDeps): Subscriptions {
  const lists = new Map<Id, Shared>()
  const linger = createAlarm()
  let isUp = false

  const endAll = (reason: EndReason): void => {
    linger.clear()
    isUp = false
    socket.close()
    for (const { subscription } of [...lists.values()]) subscription.end(reason)
  }

  const socket = createReconnectingSocket({
    ...deps,
    onUp() {
      isUp = true
      for (const { subscription } of [...lists.values()]) subscription.socketUp()
    },
    onDown() {
      isUp = false
      for (const { subscription } of [...lists.values()]) subscription.socketDown()
    },
    onMessage: (message) => dispatch(lists, message),
    onEnded: endAll,
  })

  const remove = (listId: Id, shared: Shared): void => {
    if (lists.get(listId) !== shared) return
    lists.delete(listId)
    if (lists.size === 0) linger.set(deps.timing.lingerMs, socket.close)
  }

  const open = (listId: Id): Shared => {
    const shared = createShared(deps, listId, { send: socket.send, onEnded: () => remove(listId, shared) })
    lists.set(listId, shared)
    linger.clear()
    socket.open()
    if (isUp) shared.subscription.socketUp()
    return shared
  }

  return {
    subscribe(id, handlers) {
      const listId = id.toLowerCase()
      const shared = lists.get(listId) ?? open(listId)
      const { subscription } = shared
      const own = { ...handlers }
      const known = subscription.state()
      shared.handlers.add(own)
      // Later handlers get the current state, once the caller has the subscription in hand.
      if (known)
        queueMicrotask(() => {
          if (!shared.handlers.has(own) || subscription.state() !== known) return
          guard(deps, () => own.onState?.(known))
          guard(deps, () => own.onStatus?.(subscription.status()))
        })
      return {
        state: subscription.state,
        status: subscription.status,
        close() {
          if (!shared.handlers.delete(own) || shared.handlers.size > 0) return
          if (lists.get(listId) !== shared) return
          subscription.close()
          socket.send({ type: 'unsubscribe', payload: { list_id: listId }, id: `${listId}#closed` })
          remove(listId, shared)
        },
      }
    },
    wake: socket.wake,
    endAll,
  }
}

function createShared(
  deps: SubscriptionsDeps,
  listId: Id,
  { send, onEnded }: Pick<ListSubscriptionDeps, 'send'> & { onEnded: () => void },
): Shared {
  const handlers = new Set<SubscriptionHandlers>()
  const subscription = createListSubscription({
    ...deps,
    listId,
    readList: (signal) => deps.readList(listId, signal),
    send,
    onState(state, events) {
      for (const handler of [...handlers]) {
        guard(deps, () => handler.onState?.(state))
        for (const event of events) guard(deps, () => handlers.has(handler) && handler.onEvent?.(event))
      }
    },
    onStatus(status) {
      for (const handler of [...handlers]) guard(deps, () => handler.onStatus?.(status))
      if (status.phase === 'ended') onEnded()
    },
  })
  return { subscription, handlers }
}

/** A handler that throws must not keep the others from being called. */
function guard({ onHandlerError }: SubscriptionsDeps, call: () => unknown): void {
  try {
    call()
  } catch (error) {
    onHandlerError(error)
  }
}

/** To the list that the message names; an error may name it only by the id of the message it answers. */
function dispatch(lists: Map<Id, Shared>, message: ServerMessage): void {
  if (isEvent(message)) lists.get(message.payload.list_id)?.subscription.receiveEvent(message)
  else {
    const named = 'list_id' in message.payload ? message.payload.list_id : undefined
    lists.get(named ?? message.id?.split('#')[0] ?? '')?.subscription.receiveAnswer(message)
  }
}
