export type Claims = Record<string, unknown> & { exp: number; iat: number }

/** Signs and verifies JSON Web Tokens; implemented by http/jwt-signer.ts. */
export interface JwtSigner {
  /** @param ttlSeconds life of the token from now */
  sign(claims: Record<string, string | number | null>, audience: string, ttlSeconds: number): Promise<string>
  /**
   * The claims of a token that was signed here for this audience, or null. Expiry is left to the caller, who can then
   * say so.
   */
  verify(token: string, audience: string): Promise<Claims | null>
}
