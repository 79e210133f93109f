import type { ParseArgsConfig } from 'node:util'

export interface Arguments {
  values: Record<string, string | boolean | (string | boolean)[] | undefined>
  positionals: string[]
}

export interface Command {
  /** One line, for the list of commands. */
  summary: string
  /** Follows the command's name in its usage line. */
  usage?: string
  /** For `minimart help COMMAND`. */
  details?: string
  options?: NonNullable<ParseArgsConfig['options']>
  /** Maximum number of positional arguments. */
  positionals?: number
  /** @returns the exit code */
  run(args: Arguments): Promise<number>
}

/** Wrong usage: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
