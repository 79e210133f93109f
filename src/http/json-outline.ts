/** A look at JSON before it is parsed: what nests or holds too much costs a parser time, and whoever walks the result. */

/** Bodies of this API nest three levels deep, and hold 200 items of some ten fields at most. */
const maxDepth = 9
const maxValues = 10_000

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c]
const [bracket, brace, bracketEnd, braceEnd] = [0x5b, 0x7b, 0x5d, 0x7d]

/** @returns `malformed` only where brackets are left open: the parser finds the other faults */
export function outlineOf(json: Uint8Array): 'fits' | 'malformed' | 'too deep' | 'too much' {
  let [depth, deepest, values] = [0, 0, 0]
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]
    if (byte === quote) at = endOfText(json, at)
    else if (byte === comma) values++
    else if (byte === bracket || byte === brace) deepest = Math.max(deepest, ++depth)
    else if (byte === bracketEnd || byte === braceEnd) depth--
  }
  if (depth !== 0) return 'malformed'
  if (deepest > maxDepth) return 'too deep'
  return values > maxValues ? 'too much' : 'fits'
}

/** Where the text ends that begins there. */
function endOfText(json: Uint8Array, start: number): number {
  let at = start + 1
  while (at < json.length && json[at] !== quote) at += json[at] === backslash ? 2 : 1
  return at
}
