/** .env.example lists every setting with its default and what it is for. MINIMART_UPDATE=1 writes it anew. */
import { expect, test } from 'bun:test'
import { settings } from '../../src/config.ts'

const path = new URL('../../.env.example', import.meta.url)

/** All commented out: copied as it is, it changes nothing. */
const expected = [
  '# Every setting of MiniMart, with its default. Copy what you change into the environment, or into .env for Compose.',
  '# A variable that is set but empty counts as unset.',
  ...Object.values(settings).flatMap((entry) => [
    '',
    `# ${entry.description}`,
    `# ${entry.variable}=${'default' in entry ? entry.default : ''}`,
  ]),
  '',
].join('\n')

test('.env.example has each setting, commented, with its description and default', async () => {
  if (process.env['MINIMART_UPDATE'] === '1') await Bun.write(path, expected)
  expect(await Bun.file(path).text()).toBe(expected)
})
