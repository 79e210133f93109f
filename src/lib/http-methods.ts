const methods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** The method, or null for one that HTTP does not define: labels and span names stay a bounded set. */
export const knownMethod = (method: string): string | null => (methods.has(method) ? method : null)
