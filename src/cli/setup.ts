import { type Config, loadConfig } from '../config/config.ts'
import { createLogger, type Logger, type LogLevel } from '../log.ts'
import { createLogOutput } from './log-output.ts'

/**
 * The settings from the environment, and the log they ask for.
 * @param level in place of LOG_LEVEL, where a command's own words matter more; LOG_LEVEL is checked all the same
 * @param output where the log goes: standard error where standard output is for a command's result
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
