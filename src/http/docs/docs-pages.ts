/**
 * /docs and /redoc. Neither page has an inline script or loads anything from another host; their content security
 * policy makes the browser refuse both.
 */
import { assets } from './docs-assets.ts'

/** Both UIs use inline styles; ReDoc searches in a worker made from a blob. */
export const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  'worker-src blob:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export interface ExternalisedPage {
  html: string
  /** The content of the page's inline script. */
  script: string
}

/** Swagger UI's page as the plugin writes it, its scripts moved to this server; its style is there already. */
export function externaliseSwaggerPage(page: string, scriptUrl: string): ExternalisedPage {
  let script = ''
  const html = new HTMLRewriter()
    .on('head', {
      element: (head) => {
        head.append(`<link rel="icon" href="${assets.favicon.url}" />`, { html: true })
      },
    })
    .on('script[src]', {
      element: (element) => {
        element.setAttribute('src', assets.swaggerScript.url)
      },
    })
    .on('script:not([src])', {
      element: (element) => {
        element.setAttribute('src', scriptUrl)
      },
      text: (chunk) => {
        script += chunk.text
        chunk.remove()
      },
    })
    .transform(page)
  return { html, script }
}

export const redocPage = (title: string, scriptUrl: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>${Bun.escapeHTML(title)}</title>
    <link rel="icon" href="${assets.favicon.url}" />
    <style>body { margin: 0 }</style>
  </head>
  <body>
    <div id="redoc"></div>
    <script src="${assets.redocScript.url}"></script>
    <script src="${scriptUrl}"></script>
  </body>
</html>
`

const systemFonts = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'

const redocOptions = {
  hideDownloadButtons: false,
  nativeScrollbars: true,
  sortRequiredPropsFirst: true,
  theme: { typography: { fontFamily: systemFonts, headings: { fontFamily: systemFonts } } },
}

/**
 * ReDoc loads a logo for its credit line from its maker's host; it gets an empty picture instead. React sets the URL
 * twice, as an attribute and as a property.
 */
export const redocScript = (specUrl: string): string => `'use strict'
const emptyPicture = 'data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='
const ownPicture = (address) => {
  const url = new URL(address, location.href)
  return url.protocol === 'data:' || url.origin === location.origin ? address : emptyPicture
}
const pictures = HTMLImageElement.prototype
const setAttribute = pictures.setAttribute
pictures.setAttribute = function (name, value) {
  setAttribute.call(this, name, name === 'src' ? ownPicture(value) : value)
}
const source = Object.getOwnPropertyDescriptor(pictures, 'src')
Object.defineProperty(pictures, 'src', { ...source, set(value) { source.set.call(this, ownPicture(value)) } })
Redoc.init(${JSON.stringify(specUrl)}, ${JSON.stringify(redocOptions)}, document.getElementById('redoc'))
`
