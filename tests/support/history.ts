/** A list's events as a client reads them, page by page. */
import { expect } from 'bun:test'
import type { Answer } from './client.ts'
import type { Person } from './people.ts'

export interface ListEvent {
  type: string
  // biome-ignore lint/suspicious/noExplicitAny: payloads of every shape; tests say which they expect.
  payload: any
  seq: number
  position: string
  action_id: string | null
  at: string
  actor_id: string
}

const largestPage = 100

/** Every event after `since`; fails if a sequence number is missing, repeated or out of order. */
export async function eventsOf(person: Person, listId: string, since = 0): Promise<ListEvent[]> {
  const events: ListEvent[] = []
  for (;;) {
    const from = since + events.length
    const page = await person.api.get(`/shopping-lists/${listId}/events?since=${from}&limit=${largestPage}`)
    expect(page.status).toBe(200)
    events.push(...page.body.data)
    expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => since + index + 1))
    if (page.body.complete) {
      expect(page.body.seq).toBe(since + events.length)
      return events
    }
    expect(page.body.data).toHaveLength(largestPage)
  }
}

export const typesOf = (events: readonly ListEvent[]): string[] => events.map((event) => event.type)

/** Status and code, as in `404 not_found`; the status alone if there is no code. */
export const outcome = ({ status, body }: Answer): string => `${status} ${body?.code ?? ''}`.trim()

/** The paths of the fields refused. */
export const refusedFields = ({ body }: Answer): string[] =>
  (body.errors ?? []).map((fault: { field: string }) => fault.field)
