/** Where log lines go: a stream that may be full, closed or on a full disk, none of which is a reason not to serve. */

/** What waits for a reader that does not read is kept up to this much; then lines are dropped, and counted. */
const maxWaitingBytes = 1024 * 1024

interface Output {
  readonly writableLength: number
  write(text: string): unknown
  on(event: 'error', listener: () => void): unknown
}

/** Writes whole lines, in order. What cannot be written is lost without a word: there is nowhere left to tell it. */
export function createLogOutput(output: Output): (line: string) => void {
  let dropped = 0
  // Without a listener the first line after its reader has gone would end the process.
  output.on('error', () => undefined)
  return (line) => {
    if (output.writableLength > maxWaitingBytes) {
      dropped += 1
      return
    }
    const lines = dropped === 0 ? line : `${droppedLine(dropped)}${line}`
    dropped = 0
    try {
      output.write(lines)
    } catch {
      // As above: some streams throw where others emit.
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
