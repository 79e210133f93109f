import { type Config, loadConfig } from '../config/config.ts'
import { createLogger, type Logger, type LogLevel } from '../log.ts'
import { createLogOutput } from './log-output.ts'

/**
 * Reads the settings from the environment and creates the logger they ask for.
 * @param level overrides LOG_LEVEL (which is validated all the same) for commands whose own output matters more
 * @param output where the log goes: standard error if standard output is for a command's result
 * @throws ConfigError
 */
export function setUp(
  overrides: Record<string, string | undefined> = {},
  level?: LogLevel,
  output: typeof process.stdout | typeof process.stderr = process.stdout,
): {
  config: Config
  log: Logger
  pretty: boolean
} {
  const config = loadConfig({ ...process.env, ...overrides })
  const format = config.logFormat ?? (output.isTTY ? 'pretty' : 'json')
  const log = createLogger({
    level: level ?? config.logLevel,
    format,
    write: createLogOutput(output),
  })
  return { config, log, pretty: format === 'pretty' }
}
