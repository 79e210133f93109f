/** Progress of long work on a stream: a bar where it is a terminal, a line every few seconds where it is not. */
import type { WriteStream } from 'node:tty'

export interface Progress {
  /** That much more is done. */
  advance(amount: number): void
  /** Takes the bar away. */
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
const everyMs = { terminal: 100, pipe: 3000 }

export function createProgress(
  stream: Pick<WriteStream, 'write'> & { isTTY?: boolean },
  { label, total, unit }: ProgressOptions,
): Progress {
  const pause = stream.isTTY === true ? everyMs.terminal : everyMs.pipe
  let reached = 0
  // A bar is there at once; what is quickly done puts no line into a log.
  let shownAt = stream.isTTY === true ? -pause : performance.now()

  const show = (): void => {
    const share = total === undefined ? null : total === 0 ? 1 : Math.min(1, reached / total)
    const told = share === null ? `${reached.toLocaleString('en')} ${unit}` : `${Math.floor(share * 100)} %`
    if (stream.isTTY !== true) {
      stream.write(`${label}: ${told}\n`)
      return
    }
    const filled = Math.round((share ?? 0) * barWidth)
    const bar = share === null ? '' : `${'█'.repeat(filled)}${'░'.repeat(barWidth - filled)} `
    stream.write(`\r\x1b[K${label} ${bar}${told}`)
  }

  return {
    advance(amount) {
      reached += amount
      const now = performance.now()
      if (now - shownAt < pause) return
      shownAt = now
      show()
    },
    done() {
      if (stream.isTTY === true) stream.write('\r\x1b[K')
    },
  }
}
