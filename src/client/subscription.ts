import type { ListState, Self } from './apply.ts'
import { isMiniMartError } from './error.ts'
import type { ClientMessage, ListEvent, ServerAnswer } from './messages.ts'
import { createReplica, type Replica } from './replica.ts'
import { type EndReason, endReasonOf, type SubscriptionStatus, terminalReasonOf } from './status.ts'
import { backoffMs, createAlarm } from './timing.ts'
import type { HistoryPosition, Id, ListDetail } from './types.ts'

export interface ListSubscriptionDeps {
  listId: Id
  readList: (signal: AbortSignal) => Promise<ListDetail>
  send: (message: ClientMessage) => boolean
  self: () => Self
  random: () => number
  timing: { answerMs: number; firstRetryMs: number; maxRetryMs: number }
  onState(state: ListState, events: readonly ListEvent[]): void
  onStatus(status: SubscriptionStatus): void
}

/**
 * One list kept up to date: its snapshot, and its events in order on top. A gap in `seq` is requested again; where the
 * server no longer has the events, a new snapshot replaces the state.
 */
export interface ListSubscription {
  state(): ListState | null
  status(): SubscriptionStatus
  socketUp(): void
  socketDown(): void
  receiveEvent(event: ListEvent): void
  receiveAnswer(message: ServerAnswer): void
  end(reason: EndReason): void
  /** Ends without a status; no handler is called after it. */
  close(): void
}

export function createListSubscription(deps: ListSubscriptionDeps): ListSubscription {
  const { self } = deps
  const replica = createReplica(self, deps.onState)
  const backoff = createBackoff(deps)
  const status = createStatus(deps.onStatus)
  let isClosed = false
  /** From the last event, when that was terminal. */
  let terminal: EndReason | null = null

  const update = (): void => {
    if (isClosed) return
    const isLive = requests.isSubscribed() && !replica.isWaiting() && replica.head() >= requests.target()
    if (isLive) {
      backoff.reset()
      replica.flush()
    }
    status.set({ phase: isLive ? 'live' : requests.isDown() ? 'offline' : 'syncing' })
  }

  const close = (): void => {
    isClosed = true
    requests.cancel()
    snapshots.cancel()
  }

  const end = (reason: EndReason): void => {
    if (isClosed) return
    replica.flush()
    close()
    status.set({ phase: 'ended', reason })
  }

  const requests = createRequests(deps, backoff, {
    isBlocked: () => isClosed || replica.isWaiting(),
    since() {
      replica.flush()
      return replica.position()
    },
    onChange: update,
  })

  const snapshots = createSnapshots(deps, backoff, {
    onSnapshot(detail) {
      const isComplete = replica.replace(detail)
      const isBehind = !isComplete || !requests.isSubscribed() || replica.head() < requests.target()
      if (isBehind && !requests.hasPending()) requests.send()
      update()
    },
    onRefused: end,
  })

  /** One that is being read may be of the history that a resync ends, and so are the events kept for it. */
  const readSnapshot = (): void => {
    replica.awaitSnapshot()
    snapshots.read()
  }

  const fillGap = createGapFiller(requests, replica, readSnapshot)

  readSnapshot()
  return {
    state: replica.state,
    status: status.get,
    socketUp: requests.socketUp,
    socketDown() {
      replica.flush()
      requests.socketDown()
    },
    receiveEvent(event) {
      if (isClosed) return
      terminal = terminalReasonOf(event, self())
      if (!replica.take(event)) fillGap()
      update()
    },
    receiveAnswer: createAnswers(requests, {
      onResync: readSnapshot,
      onUnsubscribed() {
        replica.flush()
        if (terminal && !isVisibleAfter(terminal, self())) end(terminal)
        else requests.sendLater()
      },
      end,
    }),
    end,
    close,
  }
}

/** An admin of the tenant sees its lists without being a member. */
const isVisibleAfter = (terminal: EndReason, self: Self): boolean =>
  terminal !== 'deleted' && self.isTenantAdmin

function createStatus(onChange: (status: SubscriptionStatus) => void) {
  let status: SubscriptionStatus = { phase: 'syncing' }
  return {
    get: () => status,
    set(next: SubscriptionStatus): void {
      if (status.phase === next.phase) return
      status = next
      onChange(status)
    },
  }
}

/** Requests the events after a gap; a snapshot bridges one that is still there afterwards. */
function createGapFiller(requests: Requests, replica: Replica, readSnapshot: () => void): () => void {
  let requestedAfter = -1
  return () => {
    if (requests.hasPending() || replica.isWaiting()) return
    if (requestedAfter === replica.head()) return readSnapshot()
    requestedAfter = replica.head()
    requests.send()
  }
}

interface AnswerHandlers {
  onResync(): void
  onUnsubscribed(): void
  end(reason: EndReason): void
}

function createAnswers(requests: Requests, { onResync, onUnsubscribed, end }: AnswerHandlers) {
  return ({ type, id, payload }: ServerAnswer): void => {
    switch (type) {
      case 'subscribed':
        if (requests.isPending(id)) requests.confirm(payload.seq)
        break
      case 'resync_required':
        onResync()
        requests.aim(payload.seq)
        break
      case 'unsubscribed':
        // One with an id answers our own message.
        if (id === undefined) onUnsubscribed()
        break
      case 'error':
        if (!requests.isPending(id)) break
        if (payload.code === 'not_found') end('not_found')
        else if (payload.code === 'too_many_subscriptions') end('too_many_lists')
        else requests.sendLater(payload.retry_after)
    }
  }
}

type Backoff = ReturnType<typeof createBackoff>

function createBackoff({ timing, random }: ListSubscriptionDeps) {
  let failures = 0
  return {
    nextMs: (): number =>
      backoffMs(failures++, { firstMs: timing.firstRetryMs, maxMs: timing.maxRetryMs, random }),
    reset(): void {
      failures = 0
    },
  }
}

interface RequestHandlers {
  /** Whether no request may be sent now. */
  isBlocked(): boolean
  since(): HistoryPosition
  onChange(): void
}

type Requests = ReturnType<typeof createRequests>

/** Sends `subscribe` until the server confirms it, again whenever the socket is back. */
function createRequests(
  { listId, send: sendMessage, timing }: ListSubscriptionDeps,
  backoff: Backoff,
  { isBlocked, since, onChange }: RequestHandlers,
) {
  let socket: 'connecting' | 'up' | 'down' = 'connecting'
  let subscribed = false
  /** The id of the message that has no answer yet. */
  let pending: string | null = null
  let count = 0
  /** The state is complete once it has reached this seq. */
  let target = 0
  const retry = createAlarm()

  const send = (): void => {
    const payload = { list_id: listId, since: since() }
    if (socket !== 'up' || isBlocked()) return
    subscribed = false
    pending = `${listId}#${++count}`
    sendMessage({ type: 'subscribe', payload, id: pending })
    retry.set(timing.answerMs, () => {
      pending = null
      send()
    })
    onChange()
  }

  return {
    send,
    /** @param afterSeconds at least */
    sendLater(afterSeconds = 0): void {
      pending = null
      subscribed = false
      retry.set(Math.max(backoff.nextMs(), afterSeconds * 1000), send)
      onChange()
    },
    confirm(seq: number): void {
      pending = null
      retry.clear()
      subscribed = true
      target = seq
      onChange()
    },
    aim(seq: number): void {
      target = seq
      onChange()
    },
    socketUp(): void {
      socket = 'up'
      send()
      onChange()
    },
    socketDown(): void {
      socket = 'down'
      subscribed = false
      pending = null
      retry.clear()
      onChange()
    },
    cancel: retry.clear,
    target: (): number => target,
    isSubscribed: (): boolean => subscribed,
    isDown: (): boolean => socket === 'down',
    hasPending: (): boolean => pending !== null,
    isPending: (id: string | undefined): boolean => id === pending,
  }
}

interface SnapshotHandlers {
  onSnapshot(detail: ListDetail): void
  /** A retry would not help. */
  onRefused(reason: EndReason): void
}

function createSnapshots(
  { readList }: ListSubscriptionDeps,
  backoff: Backoff,
  { onSnapshot, onRefused }: SnapshotHandlers,
) {
  let aborter = new AbortController()
  const retry = createAlarm()
  const cancel = (): void => {
    retry.clear()
    aborter.abort(new Error('the subscription was closed'))
  }
  const read = (): void => {
    cancel()
    aborter = new AbortController()
    const { signal } = aborter
    readList(signal).then(
      (detail) => {
        if (!signal.aborted) onSnapshot(detail)
      },
      (error: unknown) => {
        if (signal.aborted) return
        const reason = isMiniMartError(error) ? endReasonOf(error.status) : null
        if (reason) onRefused(reason)
        else retry.set(backoff.nextMs(), read)
      },
    )
  }
  return {
    read,
    cancel,
  }
}
