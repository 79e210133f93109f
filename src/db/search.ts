/** A LIKE pattern that finds the text anywhere, taking it literally. */
export const containing = (text: string): string => `%${text.replace(/[\\%_]/g, '\\$&')}%`
