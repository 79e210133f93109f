/** A socket that alters messages passing through it, as a faulty or newer service would. */
import type { ClientMessage } from '../../src/client/index.ts'
import { parseServerMessage, type ServerMessage } from '../../src/client/messages.ts'
import type { Socket, SocketConstructor } from '../../src/client/socket.ts'

export interface Tampering {
  /** Replaces a message to the service; null drops it. */
  outgoing?: (message: ClientMessage) => ClientMessage | null
  incoming?: (message: ServerMessage) => ServerMessage[]
}

export function tampered({ outgoing, incoming }: Tampering): SocketConstructor {
  return class implements Socket {
    readonly #real: WebSocket
    constructor(url: string, protocols: string[]) {
      this.#real = new WebSocket(url, protocols)
    }

    send(text: string): void {
      const message: ClientMessage = JSON.parse(text)
      const changed = outgoing ? outgoing(message) : message
      if (changed) this.#real.send(JSON.stringify(changed))
    }

    close(): void {
      this.#real.close()
    }

    addEventListener(type: 'message' | 'close', listener: (event: { data: unknown; code: number }) => void) {
      if (type === 'close') this.#real.addEventListener('close', ({ code }) => listener({ data: null, code }))
      else
        this.#real.addEventListener('message', ({ data }) => {
          const message = parseServerMessage(data)
          const received = message && incoming ? incoming(message) : [message]
          for (const each of received) listener({ data: JSON.stringify(each), code: 0 })
        })
    }
  }
}
