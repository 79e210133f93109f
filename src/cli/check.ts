import { ConfigError } from '../config/config.ts'
import { type CheckLine, probes } from './check-probes.ts'
import type { Command } from './command.ts'
import { print } from './print.ts'
import { setUp } from './setup.ts'

export const check: Command = {
  summary: 'test the settings and every connection, without serving',
  usage: '[--json]',
  details: [
    'Tests the settings, DATA_DIR, TMPDIR, the limit of file descriptors, the database, its role (row-level security must',
    'apply), the migrations, what other users of the PostgreSQL server can reach, Redis and the mail server, and says how',
    'to fix each fault. It changes nothing: pending migrations are reported, not applied, and a missing embedded database',
    'is not created. Stop a server on the embedded database first.',
    '',
    'Prints text to a terminal, and otherwise, or with --json, one JSON object a line: {"check", "ok", "detail",',
    '"remedy"}, where ok is null for advice, and for what could not be tested.',
    '',
    'Exit code 0 when everything is fine, 1 when something needs attention.',
  ].join('\n'),
  options: { json: { type: 'boolean' } },
  async run({ values }) {
    const report = values['json'] === true || !process.stdout.isTTY ? printJson : printText
    const { config, log } = await readSettings(report)
    await report({ check: 'settings', ok: true, detail: 'all variables are well-formed' })
    let fine = true
    for await (const line of probes(config, log)) {
      await report(line)
      fine &&= line.ok !== false
    }
    return fine ? 0 : 1
  },
}

/** As text, the faults are printed with the error itself. */
async function readSettings(report: (line: CheckLine) => Promise<void>) {
  try {
    return setUp({}, 'error', process.stderr)
  } catch (error) {
    if (error instanceof ConfigError && report === printJson)
      for (const fault of error.faults)
        await report({
          check: 'settings',
          ok: false,
          detail: fault,
          remedy: 'Fix the variable; minimart help settings lists all of them.',
        })
    throw error
  }
}

const printJson = (line: CheckLine): Promise<void> => print(JSON.stringify(line))

function printText({ check: what, ok, detail, remedy }: CheckLine): Promise<void> {
  const [colour, sign] = ok === true ? ['32', '✓'] : ok === false ? ['31', '✗'] : ['33', '–']
  const line = `\x1b[${colour}m${sign}\x1b[0m ${what.padEnd(12)} ${detail}`
  return print(remedy === undefined ? line : `${line}\n${' '.repeat(15)}→ ${remedy}`)
}
