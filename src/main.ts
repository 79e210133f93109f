/** argv → command → exit code: 0 success, 1 failure, 2 wrong usage. */
import { parseArgs } from 'node:util'
import { backup } from './cli/backup.ts'
import { check } from './cli/check.ts'
import { type Command, UsageError } from './cli/command.ts'
import { createAdmin } from './cli/create-admin.ts'
import { demo } from './cli/demo.ts'
import { exportCommand } from './cli/export.ts'
import { healthcheck } from './cli/healthcheck.ts'
import { helpText } from './cli/help.ts'
import { importCommand } from './cli/import.ts'
import { migrate } from './cli/migrate.ts'
import { alerts, dashboard } from './cli/monitoring.ts'
import { openapi } from './cli/openapi.ts'
import { print } from './cli/print.ts'
import { releaseAddressCommand } from './cli/release-address.ts'
import { restore } from './cli/restore.ts'
import { serve } from './cli/serve.ts'
import { AppError, OperatorError } from './errors.ts'
import { version } from './version.ts'

const commands: Record<string, Command> = {
  serve,
  migrate,
  'create-admin': createAdmin,
  check,
  healthcheck,
  openapi,
  dashboard,
  alerts,
  export: exportCommand,
  import: importCommand,
  backup,
  restore,
  'release-address': releaseAddressCommand,
  demo,
  version: {
    summary: 'print the version',
    run: () => succeed(version),
  },
  help: {
    summary: 'explain the commands, or list the settings',
    usage: '[command | settings]',
    positionals: 1,
    run: ({ positionals }) => succeed(explain(positionals[0])),
  },
}

function explain(name: string | undefined): string {
  if (name !== undefined && name !== 'settings' && !Object.hasOwn(commands, name))
    throw new UsageError(`There is no command "${name}".`)
  return helpText(commands, name)
}

async function run(argv: string[]): Promise<number> {
  const [name = 'serve', ...rest] = argv
  if (name === '--help' || name === '-h') return succeed(helpText(commands))
  if (name === '--version' || name === '-v') return succeed(version)
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (!command) throw new UsageError(`There is no command "${name}".`)
  if (rest.includes('--help') || rest.includes('-h')) return succeed(helpText(commands, name))
  return command.run(readArguments(command, rest))
}

async function succeed(text: string): Promise<number> {
  await print(text)
  return 0
}

function readArguments(command: Command, args: string[]) {
  try {
    const { values, positionals } = parseArgs({
      args,
      options: command.options ?? {},
      allowPositionals: true,
    })
    if (positionals.length > (command.positionals ?? 0))
      throw new Error(`Unexpected argument "${positionals.at(-1)}".`)
    return { values, positionals }
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function report(error: unknown, [name = '']: string[]): number {
  if (error instanceof UsageError) {
    console.error(`${error.message}\nTry: minimart help${Object.hasOwn(commands, name) ? ` ${name}` : ''}`)
    return 2
  }
  console.error(error instanceof OperatorError || error instanceof AppError ? error.message : error)
  return 1
}

// No top-level await: the executable could not hold it compiled to bytecode.
const argv = process.argv.slice(2)
void run(argv)
  .catch((error: unknown) => report(error, argv))
  .then((code) => {
    process.exitCode = code
  })
