/** A hub alone, on a fake database. */
import { expect, test } from 'bun:test'
import type { SQL } from 'drizzle-orm'
import type { Database } from '../../src/db/database.ts'
import { compileStatement } from '../../src/db/statement.ts'
import { AppError } from '../../src/errors.ts'
import { createLocalBroker } from '../../src/realtime/broker.ts'
import { createHub } from '../../src/realtime/hub.ts'
import { noDatabase } from '../store/table.ts'
import { recordingLogger } from '../support/log.ts'
import { until } from '../support/until.ts'

const list = { tenantId: Bun.randomUUIDv7(), listId: Bun.randomUUIDv7() }

const markOf = (seq: number): string => (seq === 0 ? '' : `mark ${seq}`)

/** A list in a database whose next reads fail, in this order, when they are of that kind. */
function fakeDatabase() {
  const state: { seq: number; failures: ('heads' | 'events')[] } = { seq: 0, failures: [] }
  const read = async (_: unknown, statement: SQL): Promise<unknown[]> => {
    const kind = compileStatement(statement).text.includes('jsonb_to_recordset') ? 'heads' : 'events'
    if (state.failures[0] === kind) {
      state.failures.shift()
      throw new AppError('database_unavailable', 'The database does not answer.')
    }
    if (kind === 'heads') return [{ ...list, id: list.listId, seq: state.seq, mark: markOf(state.seq) }]
    return Array.from({ length: state.seq }, (_, index) => ({
      ...{ head: state.seq, headMark: markOf(state.seq), cursorMark: '' },
      ...{ seq: index + 1, mark: markOf(index + 1) },
      type: 'item_added',
      userId: null,
      text: `event ${index + 1}`,
    }))
  }
  return { state, db: { ...noDatabase, read } as Database }
}

test('a comparison of heads that fails is repeated soon, not at the next turn', async () => {
  const { state, db } = fakeDatabase()
  const delivered: string[] = []
  const log = recordingLogger()
  let reconnect = (): void => undefined
  const hub = createHub({
    db,
    log,
    // Not within this test.
    reconcileMs: 3_600_000,
    makeBroker: (handlers) => {
      reconnect = handlers.onReconnect
      return createLocalBroker(handlers)
    },
    publishToTopic: (_, text) => delivered.push(text),
    resyncText: () => 'resync',
  })
  try {
    await hub.open(list)
    // Committed elsewhere, and nobody says so.
    Object.assign(state, { seq: 2, failures: ['heads', 'heads', 'events'] })
    reconnect()
    await until(() => delivered.length === 2, 'the events')
    expect(delivered).toEqual(['event 1', 'event 2'])
    expect(state.failures).toEqual([])
    const warnings = log.messages().filter((message) => message.includes('could not be compared'))
    expect(warnings).toHaveLength(1)
  } finally {
    await hub.close()
  }
})
