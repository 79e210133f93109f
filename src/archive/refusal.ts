/** An archive, or a place for it, that cannot be used; the message tells the operator why, and holds no row's values. */
export class ArchiveRefused extends Error {
  override readonly name = 'ArchiveRefused'
}

/** What a line of an archive is refused for, by its number. */
export const refusedLine = (number: number, why: string): ArchiveRefused =>
  new ArchiveRefused(`Line ${number} of the archive ${why}. Nothing was imported.`)
