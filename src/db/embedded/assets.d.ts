/** Files imported with `{ type: 'file' }` are paths, with `{ type: 'text' }` their contents. */
declare module '*.wasm' {
  const path: string
  export default path
}
declare module '@electric-sql/pglite/pglite.data' {
  const path: string
  export default path
}
declare module '*.sql' {
  const text: string
  export default text
}
