const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** The method, or null for one of those that a client may think up. */
export const knownMethod = (method: string): string | null => (methods.has(method) ? method : null)
