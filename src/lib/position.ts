import { generateKeyBetween } from 'fractional-indexing'

export const maxPositionLength = 255

/** Whether the `fractional-indexing` library could have made this key; it throws on anything else. */
export function isPosition(text: string): boolean {
  if (text === '' || text.length > maxPositionLength || !/^[0-9A-Za-z]+$/.test(text)) return false
  try {
    generateKeyBetween(text, null)
    return true
  } catch {
    return false
  }
}
