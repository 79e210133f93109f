/** Build artefacts that go into every executable, cached until one of their sources changes. */
import { existsSync } from 'node:fs'
import { mkdir, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** @param make writes the file it is given, which is then moved to `path` */
export async function cachedFile(path: string, make: (file: string) => Promise<unknown>): Promise<string> {
  if (existsSync(path)) return path
  await mkdir(dirname(path), { recursive: true })
  const unfinished = `${path}.${process.pid}`
  await make(unfinished)
  await rename(unfinished, path)
  return path
}

/** Of these files' contents and the version of Bun. */
export async function fingerprint(paths: string[]): Promise<string> {
  const hasher = new Bun.CryptoHasher('sha256').update(Bun.version)
  for (const path of paths) hasher.update(await Bun.file(path).bytes())
  return hasher.digest('hex').slice(0, 16)
}
