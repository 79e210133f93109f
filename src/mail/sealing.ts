/**
 * A mail as it waits in the database: sealed, for it holds a code or a link and whom it is for, and padded, so that a
 * row for an address that gets no mail (null) looks and weighs the same as one that does.
 *
 * Version (1 byte), nonce (12), tag (16), then, under AES-256-GCM (NIST SP 800-38D), the mail as JSON and zeros. The
 * row's id is authenticated as well, so that a seal is good for its own row only.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { jsonReader } from '../lib/json.ts'
import { Mail } from './mail.ts'

export interface Sealing {
  /** Base64. */
  seal(id: string, mail: Mail | null): string
  /**
   * @param sealed base64
   * @returns `unreadable` where the key, or the form of the mail, is one that only another instance knows
   */
  open(id: string, sealed: string): Mail | null | 'unreadable'
}

const version = 1
const nonceBytes = 12
const tagBytes = 16
const overheadBytes = 1 + nonceBytes + tagBytes
/** A code always fits into one, and so does a reset link while PUBLIC_URL has less than 400 characters. */
export const blockBytes = 2560

const readMail = jsonReader(Mail)
const nobody = 'null'

/** @param previousKeys mails that were sealed with them can still be opened. Keys have 32 bytes */
export function createSealing(key: Buffer, previousKeys: readonly Buffer[] = []): Sealing {
  return {
    seal(id, mail) {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
      cipher.setAAD(Buffer.from(id))
      const hidden = Buffer.concat([cipher.update(padded(JSON.stringify(mail))), cipher.final()])
      return Buffer.concat([Buffer.of(version), nonce, cipher.getAuthTag(), hidden]).toString('base64')
    },

    open(id, sealed) {
      const bytes = Buffer.from(sealed, 'base64')
      if (bytes[0] !== version || bytes.length < overheadBytes) return 'unreadable'
      for (const candidate of [key, ...previousKeys]) {
        const text = opened(candidate, id, bytes)
        if (text !== null) return text === nobody ? null : (readMail(text) ?? 'unreadable')
      }
      return 'unreadable'
    },
  }
}

/** With zeros to a multiple of the block's size, once the overhead is added. */
function padded(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const blocks = Math.ceil((overheadBytes + length) / blockBytes)
  const result = Buffer.alloc(blocks * blockBytes - overheadBytes)
  result.write(text)
  return result
}

/** Null where it was not sealed with this key, for this id. */
function opened(key: Buffer, id: string, bytes: Buffer): string | null {
  const [nonce, tag, hidden] = [
    bytes.subarray(1, 1 + nonceBytes),
    bytes.subarray(1 + nonceBytes, overheadBytes),
    bytes.subarray(overheadBytes),
  ]
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes })
  decipher.setAAD(Buffer.from(id))
  decipher.setAuthTag(tag)
  try {
    return Buffer.concat([decipher.update(hidden), decipher.final()])
      .toString()
      .replace(/\0+$/, '')
  } catch {
    return null
  }
}
