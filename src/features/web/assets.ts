/** The files of the pages, as text in the executable. */
import icon from './icon.svg' with { type: 'text' }
import inviteHtml from './invite.html' with { type: 'text' }
import inviteScript from './invite.js' with { type: 'text' }
import css from './page.css' with { type: 'text' }
import sharedScript from './page.js' with { type: 'text' }
import resetPasswordHtml from './reset-password.html' with { type: 'text' }
import resetPasswordScript from './reset-password.js' with { type: 'text' }

/** Bun's types take these imports for something else (an HTML bundle, a module), so they are checked here. */
const text = (name: string, content: unknown): string => {
  if (typeof content === 'string' && content !== '') return content
  throw new TypeError(`${name} was not built in as text`)
}

export const pages = {
  '/invite': text('invite.html', inviteHtml),
  '/reset-password': text('reset-password.html', resetPasswordHtml),
} as const

export const assets = {
  '/pages/page.css': { type: 'text/css; charset=utf-8', content: text('page.css', css) },
  '/pages/icon.svg': { type: 'image/svg+xml', content: text('icon.svg', icon) },
  '/pages/page.js': { type: 'text/javascript; charset=utf-8', content: text('page.js', sharedScript) },
  '/pages/invite.js': { type: 'text/javascript; charset=utf-8', content: text('invite.js', inviteScript) },
  '/pages/reset-password.js': {
    type: 'text/javascript; charset=utf-8',
    content: text('reset-password.js', resetPasswordScript),
  },
} as const
