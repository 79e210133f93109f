/** .env.example lists every setting with its default and what it is for, and nothing else. */
import { expect, test } from 'bun:test'
import { settings } from '../../src/config.ts'

const path = new URL('../../.env.example', import.meta.url)

test('.env.example has each setting once, commented, with its description and default', async () => {
  const text = await Bun.file(path).text()
  const listed = [...text.matchAll(/^# ?([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(
    ([, name, value]) => `${name}=${value}`,
  )
  const known = Object.values(settings).map(
    (entry) => `${entry.variable}=${'default' in entry ? entry.default : ''}`,
  )
  expect(listed).toEqual(known)
  for (const { description } of Object.values(settings)) expect(text).toContain(`# ${description}`)
  // Everything is commented out: copied as it is, it changes nothing.
  expect(text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))).toEqual([])
})
