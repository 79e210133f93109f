/** A file system of a few megabytes, visible to one program only; goes before its command (`under`). */

const asRoot = process.getuid?.() === 0
const inOwnMounts = ['unshare', asRoot ? '--mount' : '--map-root-user', '--mount']

/** Not every container allows it. */
export const mayMount: boolean =
  Bun.spawnSync([...inOwnMounts, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stderr: 'ignore' }).exitCode ===
  0

export interface Tmpfs {
  /** Like `8m`. */
  size: string
  /** An existing folder. */
  at: string
  /** Additional mount options. */
  options?: string
  /** A folder to copy to `to`. */
  from?: string
  to?: string
  /** Fills it to the last byte. */
  fill?: boolean
  thenReadOnly?: boolean
}

export function onTmpfs({ size, at, options, from, to, fill, thenReadOnly }: Tmpfs): string[] {
  const steps = [
    `mount -t tmpfs -o 'size=${size},mode=1777${options ? `,${options}` : ''}' tmpfs '${at}'`,
    from && to ? `cp -a '${from}' '${to}'` : '',
    fill ? `{ ${fillCommand(at)}; }` : '',
    thenReadOnly ? `mount -o remount,ro '${at}'` : '',
    'exec "$@"',
  ]
  return [...inOwnMounts, 'sh', '-c', steps.filter(Boolean).join(' && '), 'sh']
}

/** By pages and then by bytes; both end with "no space left", as intended. */
export const fillCommand = (folder: string): string =>
  `dd if=/dev/zero of='${folder}/fill' bs=4k 2>/dev/null; dd if=/dev/zero of='${folder}/fill' oflag=append conv=notrunc bs=1 count=4096 2>/dev/null; true`
