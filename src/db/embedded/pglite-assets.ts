/**
 * The files that PGlite needs. From the sources they are the package's own; the build puts compressed ones and a
 * prepared database in the place of this module (build/database-assets.ts).
 */
import initdbWasm from '@electric-sql/pglite/initdb.wasm' with { type: 'file' }
import data from '@electric-sql/pglite/pglite.data' with { type: 'file' }
import postgresWasm from '@electric-sql/pglite/pglite.wasm' with { type: 'file' }

export interface PgliteAssets {
  /** Paths; one that ends in .zst is to be decompressed. */
  postgresWasm: string
  data: string
  /** Null where the prepared database makes it needless. */
  initdbWasm: string | null
  /** What initdb makes, as prepared-database.ts packs it. */
  preparedDatabase: string | null
}

export const assets: PgliteAssets = { postgresWasm, data, initdbWasm, preparedDatabase: null }
