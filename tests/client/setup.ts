/** Shared by the client's tests: clients behind a network that can fail, and what they observed. */
import {
  createMemoryStorage,
  createMiniMart,
  type ListEvent,
  type ListState,
  type MiniMart,
  type MiniMartOptions,
  type SubscriptionStatus,
} from '../../src/client/index.ts'
import type { Person } from '../support/people.ts'
import { until } from '../support/until.ts'

/** Short delays, so that tests do not wait out the real ones. */
export const quick = {
  pingMs: 300,
  pongMs: 500,
  firstRetryMs: 20,
  maxRetryMs: 200,
  stableMs: 1000,
  answerMs: 1000,
  lingerMs: 50,
}

export async function clientOf(
  person: Person,
  baseUrl: string,
  options: Partial<MiniMartOptions> = {},
): Promise<MiniMart> {
  const mart = createMiniMart({ baseUrl, timing: quick, ...options })
  await mart.signIn(person.email, person.password)
  return mart
}

/** A storage that already holds a session, and counts saves. */
export function filledStorage(session: Parameters<ReturnType<typeof createMemoryStorage>['save']>[0]) {
  const storage = createMemoryStorage()
  void storage.save(session)
  return storage
}

export interface Watched {
  state(): ListState
  status(): SubscriptionStatus
  statuses: string[]
  states: ListState[]
  events: ListEvent[]
  close(): void
  /** Waits until the subscription is live and at `seq`. */
  reaches(seq: number): Promise<ListState>
  becomes(phase: SubscriptionStatus['phase']): Promise<SubscriptionStatus>
}

export function watch(mart: MiniMart, listId: string): Watched {
  const statuses: string[] = []
  const states: ListState[] = []
  const events: ListEvent[] = []
  const { state, status, close } = mart.subscribe(listId, {
    onState: (next) => states.push(next),
    onStatus: (next) => statuses.push(next.phase),
    onEvent: (event) => events.push(event),
  })
  const known = (): ListState => {
    const now = state()
    if (!now) throw new Error('there is no state of the list yet')
    return now
  }
  return {
    state: known,
    status,
    statuses,
    states,
    events,
    close,
    async reaches(seq) {
      await until(() => status().phase === 'live' && (state()?.seq ?? 0) >= seq, `event ${seq}`)
      return known()
    },
    async becomes(phase) {
      await until(() => status().phase === phase, `the status ${phase}`)
      return status()
    },
  }
}

/** Without the timestamps that events do not carry to the millisecond. */
export const comparable = ({ list, ...rest }: ListState) => {
  const { updated_at: _, ...others } = list
  return { list: others, ...rest }
}
