/** A file system of a few megabytes, seen by one program alone, to be put before its command (`under`). */

const asRoot = process.getuid?.() === 0
const inOwnMounts = ['unshare', asRoot ? '--mount' : '--map-root-user', '--mount']

/** Not in every container. */
export const mayMount: boolean =
  Bun.spawnSync([...inOwnMounts, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stderr: 'ignore' }).exitCode ===
  0

export interface Tmpfs {
  /** `8m` */
  size: string
  /** An existing folder. */
  at: string
  /** More options of mount. */
  options?: string
  /** A folder whose copy is to be there as `to`. */
  from?: string
  to?: string
  /** To the last byte. */
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

/** Page by page and then byte by byte; both end with "no space left", which is what is wanted. */
export const fillCommand = (folder: string): string =>
  `dd if=/dev/zero of='${folder}/fill' bs=4k 2>/dev/null; dd if=/dev/zero of='${folder}/fill' oflag=append conv=notrunc bs=1 count=4096 2>/dev/null; true`
