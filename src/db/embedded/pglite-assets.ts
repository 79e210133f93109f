/**
 * The files that PGlite needs: here the package's own. The build replaces this module by one that names compressed files
 * and a prepared database (build/database-assets.ts).
 */
import initdbWasm from '@electric-sql/pglite/initdb.wasm' with { type: 'file' }
import data from '@electric-sql/pglite/pglite.data' with { type: 'file' }
import postgresWasm from '@electric-sql/pglite/pglite.wasm' with { type: 'file' }

export interface PgliteAssets {
  /** Paths; one that ends in .zst is to be decompressed. */
  postgresWasm: string
  data: string
  /** Null where there is a prepared database. */
  initdbWasm: string | null
  /** A new database, packed by prepared-database.ts. */
  preparedDatabase: string | null
}

export const assets: PgliteAssets = { postgresWasm, data, initdbWasm, preparedDatabase: null }
