/** The documents on settings are generated from the table in config.ts; MINIMART_UPDATE=1 rewrites them. */
import { expect, test } from 'bun:test'
import { helpText } from '../../src/cli/help.ts'
import { settings } from '../../src/config/config.ts'

const fileOf = (name: string) => Bun.file(new URL(`../../${name}`, import.meta.url))
const isUpdate = process.env['MINIMART_UPDATE'] === '1'

test('.env.example has each setting, commented, with its description and default', async () => {
  const expected = `${helpText({}, 'settings')}\n`
  if (isUpdate) await fileOf('.env.example').write(expected)
  expect(await fileOf('.env.example').text()).toBe(expected)
  for (const { variable, description } of Object.values(settings))
    expect(expected).toContain(`# ${description}\n# ${variable}=`)
})

test('the README has each setting in a table', async () => {
  const readme = await fileOf('README.md').text()
  const [found = ''] = /^\| Variable .*\n(?:\|.*\n)+/m.exec(readme) ?? []
  if (isUpdate) await fileOf('README.md').write(readme.replace(found, () => table()))
  expect(isUpdate ? table() : found).toBe(table())
})

function table(): string {
  const rows = Object.values(settings).map((entry) => [
    `\`${entry.variable}\``,
    entry.default ? `\`${entry.default}\`` : '',
    entry.description,
  ])
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |\n`
  return [['Variable', 'Default', 'What'], widths.map((width) => '-'.repeat(width)), ...rows]
    .map(line)
    .join('')
}
