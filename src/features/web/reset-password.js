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
const password = field('password')
const again = field('again')

onSubmit('form', async () => {
  const length = [...password.value].length
  if (length < 8 || length > 128) {
    complain(password, `A password has 8 to 128 characters; this one has ${length}.`)
    return
  }
  if (password.value !== again.value) {
    complain(again, 'The two passwords differ.')
    return
  }
  const result = await post('/auth/reset-password', { token, new_password: password.value })
  if (result.ok) {
    password.value = ''
    again.value = ''
    showStep('done')
  } else if (result.code === 'reset_token_invalid') {
    sayDead('It was used already, has expired, or a newer one was sent.')
  } else if (result.code === 'invalid') complain(password, result.detail)
  else say(result.detail, true)
})

togglePasswords('show', ['password', 'again'])

if (token === '') sayDead('The address is incomplete. Open the link in the mail once more.')
else showStep('choose', { focus: false })

function sayDead(reason) {
  element('dead-reason').textContent = reason
  showStep('dead')
}
