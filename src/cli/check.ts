import { ConfigError } from '../config/config.ts'
import { type CheckLine, probes } from './check-probes.ts'
import type { Command } from './command.ts'
import { print } from './print.ts'
import { setUp } from './setup.ts'

export const check: Command = {
  summary: 'try the settings and every connection, without serving',
  usage: '[--json]',
  details: [
    'Tries the settings, DATA_DIR, TMPDIR, the database, the role it works as (row-level security must apply), the',
    'migrations, Redis and the mail server, and says what to do about each fault. Nothing is changed: pending',
    'migrations are told, not applied, and an embedded database that is not there yet is not made. With the embedded database, stop the server first.',
    '',
    'A terminal gets words; a pipe, or anything with --json, a JSON object a line: {"check", "ok", "detail", "remedy"},',
    'where ok is null for what could not be tried.',
    '',
    'Exit code 0 when all is well, 1 when anything needs attention.',
  ].join('\n'),
  options: { json: { type: 'boolean' } },
  async run({ values }) {
    const tell = values['json'] === true || !process.stdout.isTTY ? tellJson : tellWords
    const { config, log } = await readSettings(tell)
    await tell({ check: 'settings', ok: true, detail: 'all variables are well-formed' })
    let fine = true
    for await (const line of probes(config, log)) {
      await tell(line)
      fine &&= line.ok !== false
    }
    return fine ? 0 : 1
  },
}

/** What can only be tried with good settings is not; the faults are told by whoever catches the error, too. */
async function readSettings(tell: (line: CheckLine) => Promise<void>) {
  try {
    return setUp({}, 'error', process.stderr)
  } catch (error) {
    if (error instanceof ConfigError && tell === tellJson)
      for (const fault of error.faults)
        await tell({
          check: 'settings',
          ok: false,
          detail: fault,
          remedy: 'Mend the variable; minimart help settings lists all.',
        })
    throw error
  }
}

const tellJson = (line: CheckLine): Promise<void> => print(JSON.stringify(line))

function tellWords({ check: what, ok, detail, remedy }: CheckLine): Promise<void> {
  const [colour, sign] = ok === true ? ['32', '✓'] : ok === false ? ['31', '✗'] : ['33', '–']
  const line = `\x1b[${colour}m${sign}\x1b[0m ${what.padEnd(12)} ${detail}`
  return print(remedy === undefined ? line : `${line}\n${' '.repeat(15)}→ ${remedy}`)
}
