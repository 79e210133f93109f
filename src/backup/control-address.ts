import { join } from 'node:path'

/**
 * A Unix socket in a folder of its own, which is the server's user's alone: what may reach the folder may ask. Bun
 * finds a way round the 108 bytes that a socket's path may have on Linux.
 */
export const controlFolder = (dataDir: string): string => join(dataDir, 'control')
export const controlSocket = (dataDir: string): string => join(controlFolder(dataDir), 'socket')
