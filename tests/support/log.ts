import type { LogFields, Logger, LogLevel } from '../../src/log.ts'

export interface LogLine {
  level: LogLevel
  message: string
  fields?: LogFields | undefined
}

export interface RecordingLogger extends Logger {
  readonly lines: readonly LogLine[]
  messages(): string[]
}

/** Records log calls for a test to inspect. */
export function recordingLogger(): RecordingLogger {
  const lines: LogLine[] = []
  const at = (level: LogLevel) => (message: string, fields?: LogFields) =>
    void lines.push({ level, message, fields })
  return {
    lines,
    messages: () => lines.map(({ message }) => message),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  }
}
