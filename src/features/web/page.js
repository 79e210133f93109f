// What both pages share: the token of the link, calls to the API, and telling people what happened.

/** Reads the token and takes it out of the address bar, the history and what is bookmarked from there. */
export function takeToken() {
  const token = new URLSearchParams(location.search).get('token') ?? ''
  history.replaceState(null, '', location.pathname)
  return token
}

/** The element with this id; ids are the contract between a page and its script. */
export function element(id) {
  const found = document.getElementById(id)
  if (!found) throw new Error(`The page has no element "${id}".`)
  return found
}

export function field(id) {
  const input = element(id)
  if (!(input instanceof HTMLInputElement)) throw new Error(`"${id}" is no field.`)
  return input
}

const noConnection = {
  code: 'no_connection',
  detail: 'The server cannot be reached. Check your connection and try again.',
}

/**
 * POSTs to the API. Answers {ok: true, body}, or {ok: false, code, detail}: a stable word for programs and a
 * sentence for people. Never throws.
 */
export async function post(path, body, accessToken) {
  try {
    const answer = await fetch(`/api/v1${path}`, {
      method: 'POST',
      headers: {
        accept: 'application/json, application/problem+json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      credentials: 'omit',
      cache: 'no-store',
      signal: AbortSignal.timeout(20_000),
    })
    const content = answer.status === 204 ? null : await answer.json().catch(() => null)
    return answer.ok ? { ok: true, body: content } : problem(answer, content)
  } catch {
    return { ok: false, ...noConnection }
  }
}

function problem(answer, content) {
  const code = typeof content?.code === 'string' ? content.code : 'unknown'
  const wait = Number(answer.headers.get('retry-after'))
  if (answer.status === 429)
    return { ok: false, code: 'rate_limited', detail: `Too many tries. Try again ${inTime(wait)}.` }
  if (answer.status >= 500)
    return { ok: false, code, detail: `The service is busy or under repair. Try again ${inTime(wait)}.` }
  const faults = Array.isArray(content?.errors) ? content.errors.map(({ message }) => message) : []
  const detail = [content?.detail, ...faults].find((text) => typeof text === 'string' && text !== '')
  return { ok: false, code, detail: faults.length > 0 ? faults.join(' ') : (detail ?? 'That did not work.') }
}

function inTime(seconds) {
  if (!(seconds > 0)) return 'in a moment'
  if (seconds < 90) return `in ${seconds} second${seconds === 1 ? '' : 's'}`
  return `in ${Math.ceil(seconds / 60)} minutes`
}

/** Says something in the page's live region, so that screen readers say it too, and brings it into view. */
export function say(text, bad = false) {
  const message = element('message')
  message.textContent = text
  message.classList.toggle('bad', bad)
  if (text !== '') message.scrollIntoView({ block: 'nearest' })
}

/** Shows this one of the page's steps and moves the focus to its heading. */
export function showStep(id, { focus = true } = {}) {
  for (const step of document.querySelectorAll('[data-step]')) step.hidden = step.id !== id
  if (focus) element(id).querySelector('h1, h2')?.focus()
}

/**
 * Runs `work` when the form is sent, its buttons off meanwhile so that nothing is sent twice. What was typed
 * stays. `work` gets the name of the button.
 */
export function onSubmit(id, work) {
  const form = element(id)
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const buttons = [...form.querySelectorAll('button')]
    if (buttons.some((button) => button.disabled)) return
    say('')
    for (const input of form.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid')
    for (const button of buttons) button.disabled = true
    try {
      await work(event.submitter?.getAttribute('value') ?? '')
    } finally {
      for (const button of buttons) button.disabled = false
    }
  })
}

/** Marks a field as wrong, puts the focus there, and says why. */
export function complain(input, text) {
  input.setAttribute('aria-invalid', 'true')
  input.setAttribute('aria-errormessage', 'message')
  input.focus()
  say(text, true)
}

/** A box that shows what is typed into the password fields. */
export function togglePasswords(boxId, fieldIds) {
  const box = field(boxId)
  box.addEventListener('change', () => {
    for (const id of fieldIds) field(id).type = box.checked ? 'text' : 'password'
  })
}
