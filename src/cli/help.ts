import { settings } from '../config/config.ts'
import type { Command } from './command.ts'

export function helpText(commands: Record<string, Command>, name?: string): string {
  if (name === 'settings') return settingsText()
  const command = name === undefined ? undefined : commands[name]
  if (name !== undefined && command) return explainCommand(name, command)
  const width = Math.max(...Object.keys(commands).map((entry) => entry.length))
  const lines = Object.entries(commands).map(([entry, { summary }]) => `  ${entry.padEnd(width)}  ${summary}`)
  return [
    'MiniMart: shared shopping lists with live sync, in one program.',
    '',
    'Usage: minimart [command] [options]',
    '',
    ...lines,
    '',
    'The default command is serve. Settings are environment variables; minimart help settings lists them.',
    'Without any, it runs on an embedded database in ./minimart-data, at http://127.0.0.1:8000.',
    'minimart help COMMAND explains one. Exit codes: 0 success, 1 failure (wrong settings too), 2 wrong usage.',
  ].join('\n')
}

function explainCommand(name: string, { summary, usage, details }: Command): string {
  const head = `Usage: minimart ${name}${usage ? ` ${usage}` : ''}\n\n${summary[0]?.toUpperCase()}${summary.slice(1)}.`
  return details ? `${head}\n\n${details}` : head
}

/** The text of .env.example: every variable commented out, so that a plain copy changes nothing. */
const settingsText = (): string =>
  [
    '# Every setting of MiniMart, with its default. Set what you change in the environment, or in a file .env in the folder',
    '# where MiniMart is started. A variable that is set but empty counts as unset.',
    ...Object.values(settings).flatMap((entry) => [
      '',
      `# ${entry.description}`,
      `# ${entry.variable}=${'default' in entry ? entry.default : ''}`,
    ]),
  ].join('\n')
