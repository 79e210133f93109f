import {
  complain,
  element,
  field,
  onSubmit,
  post,
  say,
  showStep,
  takeToken,
  togglePasswords,
} from './page.js'

const token = takeToken()
const email = field('email')
const password = field('password')
const code = field('code')
let listName = ''
let accessToken

/** How an invitation can come to its end, in plain words: what happened, and what to do. */
const endings = {
  invitation_invalid: [
    'This link does not work',
    'The address is incomplete or changed. Open the link in the mail once more.',
  ],
  invitation_expired: ['This invitation has expired', 'Ask the person who invited you to send a new one.'],
  invitation_spent: [
    'This invitation was already answered',
    'An invitation works once. If you accepted it, the list is among yours; if you declined it, ask for a new one.',
  ],
  invitation_void: [
    'This invitation no longer counts',
    'The list was deleted, or the person who invited you may no longer invite.',
  ],
  already_member: ['You are already on this list', 'There is nothing to do: you find it among your lists.'],
}

/** Refused at sign-in, and why, where the API's own sentence is not made for this page. */
const refusals = {
  invalid_credentials: 'The e-mail address or the password is wrong.',
  account_deactivated: 'Your account is switched off. Ask your administrator.',
  tenant_deactivated: 'Your organisation’s account is switched off. Ask your administrator.',
}

const rights = { editor: 'add, change and tick off items', viewer: 'see the list' }

onSubmit('retry-form', lookUp)

onSubmit('sign-in-form', async () => {
  if (email.value.trim() === '') complain(email, 'Enter your e-mail address.')
  else if (password.value === '') complain(password, 'Enter your password.')
  else await signIn()
})

onSubmit('verify-form', async (button) => {
  if (button === 'resend') await resendCode()
  else if (/^\d{6}$/.test(code.value.trim())) await verify()
  else complain(code, 'The code has six digits.')
})

onSubmit('answer-form', (button) => (button === 'reject' ? reject() : accept()))

togglePasswords('show', ['password'])

await lookUp()

async function lookUp() {
  if (token === '') {
    end('invitation_invalid')
    return
  }
  const result = await post('/invitations/preview', { token })
  if (result.ok) {
    describe(result.body)
    showStep('sign-in', { focus: false })
  } else if (!end(result.code)) {
    showStep('retry')
    say(result.detail, true)
  }
}

/** Names come from other people: they go in as text, never as markup. */
function describe(invitation) {
  listName = invitation.list_name
  element('list-name').textContent = listName
  element('invited-by').textContent = nameOf(invitation.invited_by)
  element('invitee').textContent = invitation.email
  element('role').textContent = rights[invitation.role] ?? invitation.role
  element('expires-at').textContent = new Date(invitation.expires_at).toLocaleString(undefined, {
    dateStyle: 'long',
    timeStyle: 'short',
  })
  element('invitation').hidden = false
  email.value = invitation.email
}

function nameOf(person) {
  return typeof person === 'string' ? person : (person?.full_name ?? 'Someone')
}

async function signIn() {
  const result = await post('/auth/login', { email: email.value.trim(), password: password.value })
  if (result.ok) {
    accessToken = result.body.access_token
    password.value = ''
    element('full-name').textContent = result.body.user.full_name
    showStep('answer')
  } else if (result.code === 'email_not_verified') showStep('verify')
  else {
    showStep('sign-in', { focus: false })
    const text = refusals[result.code] ?? result.detail
    if (result.code === 'invalid_credentials') complain(password, text)
    else say(text, true)
  }
}

async function verify() {
  const result = await post('/auth/verify-email', { email: email.value.trim(), otp: code.value.trim() })
  if (result.ok) await signIn()
  else if (result.code === 'otp_invalid') complain(code, 'This code is wrong, used or too old.')
  else if (result.code === 'otp_attempts_exceeded')
    complain(code, 'Too many wrong tries: this code no longer works. Send yourself a new one.')
  else say(result.detail, true)
}

async function resendCode() {
  const result = await post('/auth/resend-otp', { email: email.value.trim() })
  code.value = ''
  if (result.ok) say('A new code is on its way. The old one no longer works.')
  else say(result.detail, true)
  code.focus()
}

async function accept() {
  const result = await post('/invitations/accept', { token }, accessToken)
  if (result.ok) await finish(`You are on the list “${listName}”`, 'You find it among your lists.')
  else await answerFailed(result)
}

async function reject() {
  const result = await post('/invitations/reject', { token }, accessToken)
  if (result.ok) await finish('You declined', `You are not on the list “${listName}”.`)
  else await answerFailed(result)
}

async function answerFailed(result) {
  if (end(result.code)) await signOut()
  else if (result.code === 'invitation_not_for_you') {
    await signOut()
    showStep('sign-in', { focus: false })
    complain(email, 'The invitation is for another address. Sign in with the one it was sent to.')
  } else if (result.code.startsWith('token_')) {
    accessToken = undefined
    showStep('sign-in')
    say('Your sign-in has ended. Sign in once more.', true)
  } else say(result.detail, true)
}

/** This page signs in only to answer: no session is left behind. */
async function signOut() {
  if (accessToken !== undefined) await post('/auth/logout', undefined, accessToken)
  accessToken = undefined
}

async function finish(title, text) {
  await signOut()
  showEnd(title, text)
}

/** Shows the ending that belongs to the code; answers whether there is one. */
function end(errorCode) {
  const ending = Object.hasOwn(endings, errorCode) ? endings[errorCode] : undefined
  if (ending) showEnd(...ending)
  return ending !== undefined
}

function showEnd(title, text) {
  element('invitation').hidden = true
  element('end-title').textContent = title
  element('end-text').textContent = text
  say('')
  showStep('end')
}
