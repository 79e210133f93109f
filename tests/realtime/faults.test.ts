/**
 * The socket's guarantee under faults: a short selection with each kind of fault once. Many more: faults/many.ts. A
 * failure prints its seed; MINIMART_FAULT_SEED repeats it as far as races can be repeated.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { seedOf } from '../support/rounds.ts'
import { describeFull } from '../support/server.ts'
import { openStage, type Stage, startCluster } from './faults/cluster.ts'
import { type FaultKind, faultKinds, planFor } from './faults/plan.ts'
import { randomFrom } from './faults/random.ts'
import { createRecorder } from './faults/recorder.ts'
import { runRound } from './faults/round.ts'
import { createWorld } from './faults/world.ts'

const firstSeed = seedOf('FAULT')
const rounds: FaultKind[][] = [
  ['kill-pubsub', 'bad-network'],
  ['redis-restart', 'kill-backends'],
  ['redis-freeze', 'kill-instance'],
  ['restart-instance', 'stalled-subscriber'],
]
/** Fewer, shorter and slower than in many.ts: the faults begin within 1.5 s. */
const less = { instances: 2, writers: 3, subscribers: 4, clients: 1, writeMs: 2000, pauseMs: 80 }
const roundTimeoutMs = 120_000
const keptLog = 4000
const kills = 4
const settleMs = 10_000
/** Reconciling with the database alone takes up to three times as long. */
const liveWithinMs = 1000

test('the selection covers every kind of fault', () => {
  expect(rounds.flat().toSorted()).toEqual([...faultKinds].toSorted())
})

describeFull(
  'every subscriber sees every event once and in order, and every acknowledged write is kept',
  () => {
    let stage: Stage
    beforeAll(async () => {
      stage = await openStage()
    })
    afterAll(() => stage.end())

    test('a killed connection to Redis is replaced immediately, so that events stay live', async () => {
      const cluster = await startCluster(stage, { instances: 2, lists: 1 })
      const world = createWorld(cluster, createRecorder(), randomFrom(firstSeed))
      const [writing, listening] = cluster.instances
      try {
        const { insist } = world.requests(randomFrom(1), () => writing.url)
        await world.addSubscriber('subscriber', randomFrom(2), { route: () => listening?.url ?? '' })
        for (let kill = 0; kill < kills; kill++) {
          await world.expectAllKnown(settleMs)
          expect(await cluster.killPubsub()).toBeGreaterThan(0)
          await insist('POST', `/shopping-lists/${cluster.listIds[0]}/items`, { name: `Item ${kill}` })
          await world.expectAllKnown(liveWithinMs)
        }
        expect(world.recorder.problems).toEqual([])
      } finally {
        world.end()
        await cluster.end()
      }
    })

    for (const [index, kinds] of rounds.entries()) {
      const seed = firstSeed + index
      test(
        `through ${kinds.join(' and ')} (seed ${seed})`,
        async () => {
          const { problems, log, ...numbers } = await runRound(stage, {
            ...planFor(seed, kinds),
            ...less,
          })
          const repeat = `bun tests/realtime/faults/many.ts --rounds 1 --seed ${seed} --faults ${kinds.join(',')}`
          if (problems.length > 0) console.error(`${repeat}\n${log.slice(-keptLog)}`)
          expect(problems, repeat).toEqual([])
          expect(numbers.unacknowledged).toBe(0)
          expect(numbers.events).toBeGreaterThan(20)
        },
        roundTimeoutMs,
      )
    }
  },
)
