/**
 * Whether a browser's page may open a socket here: one of CORS_ORIGINS, of PUBLIC_URL, or of the very host it asks.
 * Browsers send `Origin` with every handshake, and it is all that tells their pages apart.
 */
export function originCheck(origins: readonly string[], publicUrl: () => string) {
  return (origin: string, host: string | null): boolean => {
    const parsed = URL.parse(origin)
    if (!parsed) return false
    return (
      parsed.host === host ||
      origins.includes(parsed.origin) ||
      parsed.origin === URL.parse(publicUrl())?.origin
    )
  }
}
