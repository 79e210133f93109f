/** The job that runs the batches: its outcomes, rounds and shutdown. */
import { expect, test } from 'bun:test'
import type { Database } from '../../../src/db/database.ts'
import { databaseUnavailable } from '../../../src/db/errors.ts'
import { createHousekeeping } from '../../../src/features/housekeeping/job.ts'
import type { Round } from '../../../src/features/housekeeping/round.ts'
import { recordingLogger } from '../../support/log.ts'
import { until } from '../../support/until.ts'

/** A database with nothing to delete; `step` is called before each transaction. */
const setUp = (step: () => Promise<void> = async () => undefined) => {
  const log = recordingLogger()
  const rounds: Round[] = []
  const db: Database = {
    kind: 'postgres',
    read: async () => [],
    readUrgent: async () => [],
    write: async () => [],
    transaction: async (_scope, work) => {
      await step()
      return await work(async <Row>() => [{ taken: true, removed: 0 } as Row])
    },
    close: async () => undefined,
  }
  const housekeeping = createHousekeeping({
    config: { eventRetentionDays: 30, auditRetentionDays: 365, auditRefusalsRetentionDays: 30 },
    db,
    store: { compareAndSet: async () => true },
    mailer: { deliver: async () => true },
    limits: { mayMail: async () => true },
    keptBytes: { count: async () => undefined },
    log,
    observe: (round) => rounds.push(round),
  })
  return { housekeeping, log, rounds }
}

test('an unreachable database fails the round, never the program; it is logged once, and again after a success', async () => {
  let away = true
  const { housekeeping, log, rounds } = setUp(async () => {
    if (away) throw databaseUnavailable('It is away.')
  })
  expect((await housekeeping.run()).outcome).toBe('failed')
  expect((await housekeeping.run()).outcome).toBe('failed')
  const warnings = () => log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)
  expect(warnings()).toEqual(['housekeeping failed; will try again in the next round'])
  away = false
  expect((await housekeeping.run()).outcome).toBe('done')
  away = true
  await housekeeping.run()
  expect(warnings()).toHaveLength(2)
  expect(rounds.map(({ outcome }) => outcome)).toEqual(['failed', 'failed', 'done', 'failed'])
})

test('rounds repeat one after the other, after failures too', async () => {
  let steps = 0
  let inside = 0
  let most = 0
  const { housekeeping, rounds } = setUp(async () => {
    most = Math.max(most, ++inside)
    await Bun.sleep(1)
    inside -= 1
    if (++steps === 3) throw new Error('a fault of the program')
  })
  housekeeping.start({ firstAfterMs: 1, everyMs: 1 })
  await until(() => rounds.length > 5)
  await housekeeping.stop()
  const begun = rounds.length
  expect(rounds.map(({ outcome }) => outcome)).toContain('failed')
  expect(rounds.map(({ outcome }) => outcome)).toContain('done')
  expect(most).toBe(1)
  // Many times the interval between rounds.
  await Bun.sleep(20)
  expect(rounds).toHaveLength(begun)
})

test('stopping waits for the current batch and starts no other', async () => {
  const batch = Promise.withResolvers<void>()
  let steps = 0
  const { housekeeping, rounds } = setUp(() => {
    steps += 1
    return batch.promise
  })
  const round = housekeeping.run()
  await until(() => steps === 1)
  let stopped = false
  const stopping = housekeeping.stop().then(() => {
    stopped = true
  })
  expect(stopped).toBe(false)
  batch.resolve()
  await stopping
  expect(rounds).toHaveLength(1)
  expect(steps).toBe(1)
  await round
})
