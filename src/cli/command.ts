import type { ParseArgsConfig } from 'node:util'

export interface Arguments {
  values: Record<string, string | boolean | (string | boolean)[] | undefined>
  positionals: string[]
}

export interface Command {
  /** One line for the list of commands. */
  summary: string
  /** What follows the command's name. */
  usage?: string
  /** Lines that teach, for `minimart help COMMAND`. */
  details?: string
  options?: NonNullable<ParseArgsConfig['options']>
  /** How many positional arguments it takes at most. */
  positionals?: number
  /** Answers the exit code. */
  run(args: Arguments): Promise<number>
}

/** Wrong usage: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
