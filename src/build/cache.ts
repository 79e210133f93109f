/** What takes seconds to make and goes into every executable is kept until something changes that it is made of. */
import { existsSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** @param maker writes the file it is given, which is put at `path` whole */
export async function cachedFile(path: string, maker: (file: string) => Promise<unknown>): Promise<string> {
  if (existsSync(path)) return path
  await mkdir(dirname(path), { recursive: true })
  const unfinished = `${path}.${process.pid}`
  await maker(unfinished)
  await rename(unfinished, path)
  return path
}

/** Of the contents of these files and of the Bun that works on them. */
export async function fingerprint(paths: string[]): Promise<string> {
  const hasher = new Bun.CryptoHasher('sha256').update(Bun.version)
  for (const path of paths) hasher.update(await Bun.file(path).bytes())
  return hasher.digest('hex').slice(0, 16)
}
