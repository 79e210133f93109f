/**
 * Progress of long work on a stream: a bar where it is a terminal; where it is not, a line for each quarter, or one
 * every few seconds where nobody knows how much there is.
 */
import type { WriteStream } from 'node:tty'

export interface Progress {
  /** That much more is done. */
  advance(amount: number): void
  /** Shows where it ended and takes the bar away. */
  done(): void
}

export interface ProgressOptions {
  /** What is going on, like "Exporting". */
  label: string
  /** How much there is to do, in the unit of `advance`; without it only what is done is told. */
  total?: number | undefined
  /** Of `advance`, in the plural. */
  unit: string
}

const barWidth = 30
const redrawMs = 100
const tellMs = 3000

export function createProgress(
  stream: Pick<WriteStream, 'write'> & { isTTY?: boolean },
  { label, total, unit }: ProgressOptions,
): Progress {
  const isTerminal = stream.isTTY === true
  let reached = 0
  let quarters = 0
  // A bar is there at once; what is quickly done and of no known length puts no line into a log.
  let shownAt = isTerminal ? -redrawMs : performance.now()
  const share = (): number | null =>
    total === undefined ? null : total === 0 ? 1 : Math.min(1, reached / total)
  const amount = (): string =>
    total === undefined
      ? `${reached.toLocaleString('en')} ${unit}`
      : `${Math.floor((share() ?? 0) * 100)} % of ${total.toLocaleString('en')} ${unit}`

  const draw = (): void => {
    const part = share()
    const filled = Math.round((part ?? 0) * barWidth)
    const bar = part === null ? '' : `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} `
    stream.write(`\r\x1b[K${label} ${bar}${amount()}`)
  }
  const isTime = (): boolean => {
    const now = performance.now()
    if (now - shownAt < (isTerminal ? redrawMs : tellMs)) return false
    shownAt = now
    return true
  }
  const tell = (): void => {
    const reachedQuarters = Math.floor((share() ?? 0) * 4)
    if (total === undefined ? !isTime() : reachedQuarters <= quarters) return
    quarters = reachedQuarters
    stream.write(`${label} ${amount()}\n`)
  }

  return {
    advance(amountDone) {
      reached += amountDone
      if (!isTerminal) tell()
      else if (isTime()) draw()
    },
    done() {
      if (!isTerminal) return
      draw()
      stream.write('\r\x1b[K')
    },
  }
}
