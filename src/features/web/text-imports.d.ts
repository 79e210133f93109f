/** What is imported as text in assets.ts. The scripts are for browsers: to the program they are strings. */
declare module '*.css' {
  const text: string
  export default text
}
declare module '*.svg' {
  const text: string
  export default text
}
declare module '*/page.js' {
  const text: string
  export default text
}
declare module '*/invite.js' {
  const text: string
  export default text
}
declare module '*/reset-password.js' {
  const text: string
  export default text
}
