import { limits } from './limits.ts'

export interface InboundHandlers {
  /** The next message waits until this resolves. */
  process(text: string): Promise<void>
  /** Over the rate limit. Called in order with the others. */
  refuse(text: string): void
  onFlood(): void
}

/** The messages of one socket, processed one at a time and in order; bounded in rate, number and size. */
export interface InboundQueue {
  push(text: string): void
  /** Counts a ping or pong frame; they are limited too, but not queued. */
  countControlFrame(): void
  close(): void
}

export function createInboundQueue({ process, refuse, onFlood }: InboundHandlers): InboundQueue {
  const messageTokens = createTokenBucket(limits.messageBurst, limits.messagesPerSecond)
  const controlTokens = createTokenBucket(limits.messageBurst, limits.messagesPerSecond)
  const waiting: { text: string; allowed: boolean }[] = []
  let waitingLength = 0
  let refusedInARow = 0
  let running = false
  let closed = false

  const run = async (): Promise<void> => {
    running = true
    for (let next = waiting.shift(); next && !closed; next = waiting.shift()) {
      waitingLength -= next.text.length
      if (next.allowed) await process(next.text)
      else refuse(next.text)
    }
    running = false
  }

  return {
    push(text) {
      if (closed) return
      const allowed = messageTokens.take()
      refusedInARow = allowed ? 0 : refusedInARow + 1
      waitingLength += text.length
      waiting.push({ text, allowed })
      if (
        refusedInARow > limits.refusedMessages ||
        waiting.length > limits.waitingMessages ||
        waitingLength > limits.waitingLength
      )
        onFlood()
      else if (!running) void run()
    },
    countControlFrame() {
      if (!closed && !controlTokens.take()) onFlood()
    },
    close() {
      closed = true
      waiting.length = 0
    },
  }
}

/** A token bucket: it holds at most `burst` tokens and gains `perSecond`. `take` returns false when it is empty. */
function createTokenBucket(burst: number, perSecond: number) {
  let tokens = burst
  let filledAt = performance.now()
  return {
    take(): boolean {
      const now = performance.now()
      tokens = Math.min(burst, tokens + ((now - filledAt) / 1000) * perSecond)
      filledAt = now
      if (tokens < 1) return false
      tokens--
      return true
    },
  }
}
