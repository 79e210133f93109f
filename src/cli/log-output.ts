/** Writes log lines to a stream that may be full, closed or on a full disk: none of that may stop the service. */

/** Buffered for a slow reader; beyond it lines are dropped and counted. */
const maxBufferedBytes = 1024 * 1024

interface Output {
  readonly writableLength: number
  write(text: string): unknown
  on(event: 'error', listener: () => void): unknown
}

/** Writes whole lines, in order. Lines that cannot be written are lost silently: there is nowhere to report it. */
export function createLogOutput(output: Output): (line: string) => void {
  let dropped = 0
  // Without a listener, the first line after its reader has gone would end the process.
  output.on('error', () => undefined)
  return (line) => {
    if (output.writableLength > maxBufferedBytes) {
      dropped += 1
      return
    }
    const lines = dropped === 0 ? line : `${droppedLine(dropped)}${line}`
    dropped = 0
    try {
      output.write(lines)
    } catch {
      // Some streams throw where others emit an error; both are ignored.
    }
  }
}

const droppedLine = (count: number): string =>
  `${JSON.stringify({
    time: new Date().toISOString(),
    level: 'warn',
    message: 'log lines were dropped: nothing read them in time',
    count,
  })}\n`
