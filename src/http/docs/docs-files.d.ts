/** Files that are embedded as they are; importing one gives its path. */
declare module 'swagger-ui-dist/*' {
  const path: string
  export default path
}

declare module 'redoc/bundles/redoc.standalone.js' {
  const path: string
  export default path
}
