/** The platforms MiniMart is compiled for, and the packages each needs. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** A file of a package in bun.lock. */
export interface PackageFile {
  name: string
  file: string
}

export interface Target {
  /** In the executable's file name. */
  name: string
  bun: Bun.Build.CompileTarget
  /** Bun for the target. */
  runtime: PackageFile
  /** The native argon2. */
  addon: PackageFile
  os: 'linux' | 'darwin' | 'win32'
  cpu: 'x64' | 'arm64'
}

const target = (
  name: string,
  os: Target['os'],
  cpu: Target['cpu'],
  bun: Bun.Build.CompileTarget,
  addon: string,
): Target => ({
  name,
  bun,
  runtime: {
    name: `@oven/${bun.replace('arm64', 'aarch64')}`,
    file: os === 'win32' ? 'bin/bun.exe' : 'bin/bun',
  },
  addon: { name: `@node-rs/argon2-${addon}`, file: `argon2.${addon}.node` },
  os,
  cpu,
})

export const targets: readonly Target[] = [
  target('linux-x64', 'linux', 'x64', 'bun-linux-x64', 'linux-x64-gnu'),
  target('linux-arm64', 'linux', 'arm64', 'bun-linux-arm64', 'linux-arm64-gnu'),
  target('linux-x64-musl', 'linux', 'x64', 'bun-linux-x64-musl', 'linux-x64-musl'),
  target('linux-arm64-musl', 'linux', 'arm64', 'bun-linux-arm64-musl', 'linux-arm64-musl'),
  target('macos-arm64', 'darwin', 'arm64', 'bun-darwin-arm64', 'darwin-arm64'),
  target('macos-x64', 'darwin', 'x64', 'bun-darwin-x64', 'darwin-x64'),
  target('windows-x64', 'win32', 'x64', 'bun-windows-x64', 'win32-x64-msvc'),
]

export const fileName = ({ name, os }: Target, version: string): string =>
  `minimart-${version}-${name}${os === 'win32' ? '.exe' : ''}`

/** The platform of this machine; the installed addon tells its libc. @throws Error when it is not supported */
export function hostTarget(nodeModules: string): Target {
  const found = targets.find(
    ({ os, cpu, addon }) =>
      os === process.platform && cpu === process.arch && existsSync(join(nodeModules, addon.name)),
  )
  if (found) return found
  throw new Error(
    `This platform (${process.platform} ${process.arch}) is not supported, or its packages are not installed: ` +
      'run bun install. To compile for another platform, see bun run build --help.',
  )
}
