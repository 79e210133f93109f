/**
 * What a socket sends: one message after the other, in order, bounded in rate, number and size. What it cannot keep up
 * with is refused first; whoever goes on all the same is a flood.
 */

import { limits } from './limits.ts'
import { createAllowance } from './token-bucket.ts'

export interface IntakeHandlers {
  /** The next message waits until this one is answered. */
  follow(text: string): Promise<void>
  /** In its turn too. */
  refuse(text: string): void
  onFlood(): void
}

export interface Intake {
  take(text: string): void
  /** A ping or pong frame. They need no turn, but their number is bounded as well. */
  takeControl(): void
  /** Forgets what waits. */
  end(): void
}

export function createIntake({ follow, refuse, onFlood }: IntakeHandlers): Intake {
  const allowance = createAllowance(limits.messageBurst, limits.messagesPerSecond)
  const controlAllowance = createAllowance(limits.messageBurst, limits.messagesPerSecond)
  const waiting: { text: string; allowed: boolean }[] = []
  let waitingLength = 0
  let refused = 0
  let working = false
  let ended = false

  const work = async (): Promise<void> => {
    working = true
    for (let next = waiting.shift(); next && !ended; next = waiting.shift()) {
      waitingLength -= next.text.length
      if (next.allowed) await follow(next.text)
      else refuse(next.text)
    }
    working = false
  }

  return {
    take(text) {
      if (ended) return
      const allowed = allowance.take()
      refused = allowed ? 0 : refused + 1
      waitingLength += text.length
      waiting.push({ text, allowed })
      if (
        refused > limits.refusedMessages ||
        waiting.length > limits.waitingMessages ||
        waitingLength > limits.waitingLength
      )
        onFlood()
      else if (!working) void work()
    },
    takeControl() {
      if (!ended && !controlAllowance.take()) onFlood()
    },
    end() {
      ended = true
      waiting.length = 0
    },
  }
}
