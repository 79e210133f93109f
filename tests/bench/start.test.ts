/** The program's start-up time and memory stay within the promised bounds, with headroom for a busy machine. */
import { describe, expect, test } from 'bun:test'
import { executableBuilt } from '../support/program.ts'
import { describeFull } from '../support/server.ts'
import { measureStarts } from './start.ts'

const promised = {
  'PostgreSQL and Redis': { readyMs: 300, idleMb: 120 },
  'embedded, first start': { readyMs: 2000, idleMb: 400 },
  embedded: { readyMs: 1000, idleMb: 400 },
}
const room = 5

describe.skipIf(!executableBuilt)('the executable', () => {
  describeFull('starts', () => {
    test('within the promised time and memory, also right after it has created its database', async () => {
      const starts = await measureStarts(1, 500)
      expect(starts.map(({ what }) => what)).toEqual(Object.keys(promised))
      for (const [index, most] of Object.values(promised).entries()) {
        const { readyMs = 0, idleMb = 0, peakMb = 0, what } = starts[index] ?? {}
        expect(readyMs, what).toBeLessThan(most.readyMs * room)
        expect(idleMb, what).toBeLessThan(most.idleMb)
        expect(peakMb, what).toBeLessThan(most.idleMb * 1.25)
      }
    }, 60_000)
  })
})
