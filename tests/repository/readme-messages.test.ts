/** The README explains messages by their text; each must exist in the source. */
import { expect, test } from 'bun:test'
import { join } from 'node:path'

const root = join(import.meta.dir, '../..')

test('every message of "Troubleshooting by message" exists in the source', async () => {
  const readme = await Bun.file(join(root, 'README.md')).text()
  const section = readme.split('\n## ').find((part) => part.startsWith('Troubleshooting by message')) ?? ''
  const messages = [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, message]) => message ?? '')
  expect(messages.length).toBeGreaterThan(20)
  let source = ''
  // Joins strings that are split over lines.
  for await (const file of new Bun.Glob('src/**/*.ts').scan({ cwd: root }))
    source += (await Bun.file(join(root, file)).text()).replace(/['`]\s*\+\s*['`]/g, '')
  expect(messages.filter((message) => !source.includes(message))).toEqual([])
})
