/** Every bound of the socket, units last in their names. */
export const limits = {
  /** Bytes of one message; a longer one closes the socket with 1009. */
  messageBytes: 16 * 1024,
  subscriptions: 100,
  /** Messages that may come at once, and how many a second after that. */
  messageBurst: 200,
  messagesPerSecond: 50,
  /** Refused messages in a row that are answered with `rate_limited` before the socket is closed with 4008. */
  refusedMessages: 100,
  /** Messages of one socket waiting for their turn. */
  waitingMessages: 400,
  /** Their length together, in UTF-16 units. */
  waitingLength: 256 * 1024,
  /** Bytes that a client has not taken yet; with more at the next tick it is closed with 4013. */
  unsentBytes: 1024 * 1024,
  /** Past these it is cut off at once: nothing could reach it any more. */
  unsentBytesAtMost: 2 * 1024 * 1024,
  /** Of one user on one instance, however many devices; more are refused with 429. */
  socketsPerUser: 5000,
  pingSeconds: 25,
  silenceSeconds: 60,
  tokenWarningSeconds: 60,
} as const
