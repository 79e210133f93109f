import { type Config, loadConfig } from '../config.ts'
import { createLogger, type Logger, type LogLevel } from '../log.ts'

/**
 * The settings from the environment, and the log they ask for.
 * @param level in place of LOG_LEVEL, where a command's own words matter more; LOG_LEVEL is checked all the same
 * @throws ConfigError
 */
export function setUp(
  overrides: Record<string, string | undefined> = {},
  level?: LogLevel,
): {
  config: Config
  log: Logger
  pretty: boolean
} {
  const config = loadConfig({ ...process.env, ...overrides })
  const format = config.logFormat ?? (process.stdout.isTTY ? 'pretty' : 'json')
  const log = createLogger({
    level: level ?? config.logLevel,
    format,
    write: (line) => process.stdout.write(line),
  })
  return { config, log, pretty: format === 'pretty' }
}
