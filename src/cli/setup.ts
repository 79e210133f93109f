import { type Config, loadConfig } from '../config.ts'
import { createLogger, type Logger } from '../log.ts'

/** The settings from the environment, and the log they ask for. @throws ConfigError */
export function setUp(overrides: Record<string, string | undefined> = {}): {
  config: Config
  log: Logger
  pretty: boolean
} {
  const config = loadConfig({ ...process.env, ...overrides })
  const format = config.logFormat ?? (process.stdout.isTTY ? 'pretty' : 'json')
  const log = createLogger({ level: config.logLevel, format, write: (line) => process.stdout.write(line) })
  return { config, log, pretty: format === 'pretty' }
}
