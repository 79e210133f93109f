import { generateKeyBetween } from 'fractional-indexing'

export const maxPositionLength = 255

/** Whether it is a key of the `fractional-indexing` library, which throws on anything it could not have made. */
export function isPosition(text: string): boolean {
  if (text === '' || text.length > maxPositionLength || !/^[0-9A-Za-z]+$/.test(text)) return false
  try {
    generateKeyBetween(text, null)
    return true
  } catch {
    return false
  }
}
