/**
 * Shows the progress of long work: a bar on a terminal; elsewhere a line per quarter, or one every few seconds when the
 * total is unknown.
 */
import type { WriteStream } from 'node:tty'

export interface Progress {
  /** So much more is done. */
  advance(amount: number): void
  /** Draws the final state and removes the bar. */
  done(): void
}

export interface ProgressOptions {
  /** Such as "Exporting". */
  label: string
  /** In the unit of `advance`; undefined when unknown. */
  total?: number | undefined
  /** Plural name of what `advance` counts. */
  unit: string
}

const barWidth = 30
const redrawMs = 100
const printMs = 3000

export function createProgress(
  stream: Pick<WriteStream, 'write'> & { isTTY?: boolean },
  { label, total, unit }: ProgressOptions,
): Progress {
  const isTerminal = stream.isTTY === true
  let reached = 0
  let quarters = 0
  // A bar appears immediately; work of unknown length that ends soon prints no line at all.
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
  const isDue = (): boolean => {
    const now = performance.now()
    if (now - shownAt < (isTerminal ? redrawMs : printMs)) return false
    shownAt = now
    return true
  }
  const printLine = (): void => {
    const reachedQuarters = Math.floor((share() ?? 0) * 4)
    if (total === undefined ? !isDue() : reachedQuarters <= quarters) return
    quarters = reachedQuarters
    stream.write(`${label} ${amount()}\n`)
  }

  return {
    advance(amountDone) {
      reached += amountDone
      if (!isTerminal) printLine()
      else if (isDue()) draw()
    },
    done() {
      if (!isTerminal) return
      draw()
      stream.write('\r\x1b[K')
    },
  }
}
