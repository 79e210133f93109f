/** The benchmark itself works; its figures pass or fail nothing. */
import { expect, test } from 'bun:test'
import { describeFull } from '../support/server.ts'
import { measureRequests } from './requests.ts'

describeFull('the benchmark of requests', () => {
  test('measures each request against its ceiling', async () => {
    const ratios = await measureRequests(0.3)
    expect(ratios.map(({ what }) => what)).toEqual(['me, to /healthz', 'add an item, to its transaction'])
    for (const { perSecond, ceilingPerSecond } of ratios) {
      expect(perSecond).toBeGreaterThan(0)
      expect(ceilingPerSecond).toBeGreaterThan(0)
    }
  }, 120_000)
})
