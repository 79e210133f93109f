/** Limits of the socket. */
export const limits = {
  /** A longer message closes the socket with 1009. */
  messageBytes: 16 * 1024,
  subscriptions: 100,
  messageBurst: 200,
  messagesPerSecond: 50,
  /** Messages in a row answered with `rate_limited` before the socket is closed with 4008. */
  refusedMessages: 100,
  /** Messages of one socket in its inbound queue. */
  waitingMessages: 400,
  /** Their total length in UTF-16 units. */
  waitingLength: 256 * 1024,
  /** Bytes the client has not read yet; with more at the next tick the socket is closed with 4013. */
  unsentBytes: 1024 * 1024,
  /** Bytes at which the socket is dropped without a close frame, which could no longer get through. */
  unsentBytesAtMost: 2 * 1024 * 1024,
  /** Per user and instance; more are refused with 429. */
  socketsPerUser: 200,
  pingSeconds: 25,
  silenceSeconds: 60,
  tokenWarningSeconds: 60,
} as const
