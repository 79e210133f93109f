/**
 * The layout of all mails. Page and text have no colours of their own, so dark mode works; what has one (button,
 * rules) is legible on both. Colours have three digits, so that an OTP mail holds no six-digit number but the code.
 */
import { type Content, singleLine } from './mail.ts'

export const renderText = ({ title, before, main, after }: Content): string =>
  `${[title, ...before, ...textOfMain(main), ...after, footer].map(wrap).join('\n\n')}\n`

export const renderHtml = ({ title, before, main, after }: Content): string =>
  `<!doctype html>
<html lang="en" style="color-scheme:light dark">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>${escapeHtml(title)}</title>
</head>
<body style="margin:0;padding:0">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
<tr>
<td align="center" style="padding:24px 16px">
<div style="${column}">
<p style="margin:0 0 24px;font-size:16px;font-weight:bold">
<span style="${badge}">&#10003;</span>&nbsp; MiniMart
</p>
<h1 style="margin:0 0 16px;font-size:24px;line-height:1.25">
${escapeHtml(title)}
</h1>
${before.map(paragraph).join('\n')}
${htmlOfMain(main)}
${after.map(paragraph).join('\n')}
<p style="${small};margin:32px 0 0;padding:16px 0 0;border-top:1px solid #999">
${escapeHtml(footer)}
</p>
</div>
</td>
</tr>
</table>
</body>
</html>
`

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

const footer = 'Sent by MiniMart, your shared shopping lists. Replies to this mail are not read.'

const column =
  'max-width:480px;margin:0 auto;text-align:left;' +
  'font-family:system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif;' +
  'font-size:16px;line-height:1.5;overflow-wrap:anywhere'
const badge =
  'display:inline-block;width:24px;line-height:24px;border-radius:6px;text-align:center;' +
  'background:#175;color:#fff'
const codeBox =
  'margin:24px 0;padding:16px 8px;border:1px solid #999;border-radius:12px;text-align:center;' +
  'font-family:ui-monospace,Menlo,Consolas,monospace;font-size:34px;line-height:1.25;' +
  'font-weight:bold;letter-spacing:6px'
const button =
  'display:inline-block;padding:12px 24px;border-radius:8px;background:#175;color:#fff;' +
  'font-weight:bold;text-decoration:none'
const small = 'font-size:13px;opacity:.75'

const paragraph = (text: string): string => `<p style="margin:0 0 16px">\n${escapeHtml(wrap(text))}\n</p>`

function htmlOfMain(main: Content['main']): string {
  if (main === null) return ''
  if ('code' in main) return `<p style="${codeBox}">\n${escapeHtml(main.code)}\n</p>`
  const url = escapeHtml(main.url)
  return `<p style="margin:24px 0">
<a href="${url}" style="${button}">${escapeHtml(main.button)}</a>
</p>
<p style="${small};margin:0 0 16px">
If the button does not work, open this address:<br>
<a href="${url}" style="color:inherit;word-break:break-all">${url}</a>
</p>`
}

function textOfMain(main: Content['main']): string[] {
  if (main === null) return []
  return 'code' in main ? [main.code] : [`${main.button}:`, main.url]
}

/** Short lines, so that quoted-printable adds no soft breaks, which would cut through codes in simple clients. */
function wrap(text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (longer.length > 72 && line !== '') {
      lines.push(line)
      line = word
    } else line = longer
  }
  return [...lines, line].join('\n')
}

/** @throws TypeError unless http or https: no misconfiguration may produce a `javascript:` link */
export function webAddress(url: string): string {
  const parsed = URL.parse(url)
  if (parsed?.protocol === 'https:' || parsed?.protocol === 'http:') return singleLine(url)
  throw new TypeError('A link in a mail must start with http:// or https://')
}
