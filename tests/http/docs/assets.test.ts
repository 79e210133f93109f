/** The scripts of /docs and /redoc: embedded and sent compressed, and identical to the packages'. */
import { expect, test } from 'bun:test'
import { assets } from '../../../src/http/docs/docs-assets.ts'
import { describePrograms } from '../../support/program.ts'

describePrograms('the documentation’s scripts and styles', (program) => {
  test('are sent compressed to clients that accept it, plain to others, with the same content', async () => {
    const started = await program.start([], {
      env: { PORT: '0', ...(await program.anyDatabase()) },
    })
    const { url } = await started.ready()
    const get = (asset: { url: string }, headers: Record<string, string>): Promise<Response> =>
      fetch(`${url}${asset.url}`, { headers, decompress: false })
    for (const asset of [assets.redocScript, assets.swaggerScript, assets.swaggerStyle]) {
      const original = Bun.hash(await Bun.file(asset.path).bytes())
      for (const refusal of ['identity', 'br', 'gzip;q=0, br', 'gzip; q=0.00']) {
        const plain = await get(asset, { 'accept-encoding': refusal })
        expect(plain.headers.get('content-encoding')).toBeNull()
        expect(Bun.hash(await plain.bytes())).toBe(original)
      }
      const asked = await get(asset, { 'accept-encoding': 'br, GZIP;q=0.5' })
      expect(asked.headers.get('vary')).toContain('accept-encoding')
      expect(asked.headers.get('content-encoding')).toBe(program.form === 'executable' ? 'gzip' : null)
      const sent = new Uint8Array(await asked.arrayBuffer())
      const isCompressed = asked.headers.get('content-encoding') === 'gzip'
      expect(Bun.hash(isCompressed ? Bun.gunzipSync(sent) : sent)).toBe(original)
      const known = { 'accept-encoding': 'gzip', 'if-none-match': asked.headers.get('etag') ?? '' }
      expect((await get(asset, known)).status).toBe(304)
    }
    started.signal('SIGTERM')
    expect(await started.exited).toBe(0)
  })
})
