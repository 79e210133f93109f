/**
 * Whether a page may open a socket here: one from CORS_ORIGINS, from PUBLIC_URL, or from the host that it connects to.
 * Browsers send `Origin` with every handshake; nothing else tells their pages apart.
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
