/** What the commands that work on the embedded database's files have in common. */

import type { Config } from '../config/config.ts'
import { OperatorError } from '../errors.ts'
import { UsageError } from './command.ts'

export function fileArgument(command: string, [file]: string[]): string {
  if (file) return file
  throw new UsageError(`Name the file: minimart ${command} FILE.`)
}

export const reportServer = (): void =>
  void process.stderr.write('Asking the running server for a copy of its database.\n')

/** @throws OperatorError when DATABASE_URL is set, naming PostgreSQL's own tools */
export function requireEmbedded(command: 'backup' | 'restore', { databaseUrl }: Config): void {
  if (databaseUrl === null) return
  const instead = {
    backup: 'back it up with pg_dump --format=custom --file=FILE "$DATABASE_URL"',
    restore: 'restore it with pg_restore --clean --if-exists --dbname="$DATABASE_URL" FILE',
  }
  throw new OperatorError(
    `minimart ${command} works on the embedded database, and DATABASE_URL names PostgreSQL: ${instead[command]}. ` +
      'A single tenant moves with minimart export and minimart import.',
  )
}
