/**
 * A client that reads as much as it can, in a process of its own: whole lists, forty at a time; lists that it asks for and
 * does not take; replays of a whole history on twenty sockets. Its environment says where. Prints, when told to stop by
 * the end of its input, how often each status was answered and how many replays began.
 */
import { connect } from 'node:net'

const { URL: url = '', TOKEN: token = '', LIST: listId = '' } = process.env
const path = `/api/v1/shopping-lists/${listId}`
const headers = { authorization: `Bearer ${token}` }
const statuses: Record<string, number> = {}
let replays = 0
let isOver = false

async function readLists(): Promise<void> {
  while (!isOver) {
    const answer = await fetch(url + path, { headers })
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
    await answer.arrayBuffer()
  }
}

function askWithoutReading(): void {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.pause()
  socket.on('error', () => undefined)
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`)
}

function replay(): void {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws?token=${token}`)
  const subscribe = () =>
    socket.send(JSON.stringify({ type: 'subscribe', payload: { list_id: listId, since: 0 } }))
  socket.addEventListener('open', () => setInterval(subscribe, 500))
  socket.addEventListener('message', ({ data }) => {
    if (String(data).startsWith('{"type":"subscribed"')) replays++
  })
}

for (let count = 0; count < 40; count++) void readLists()
for (let count = 0; count < 15; count++) askWithoutReading()
for (let count = 0; count < 20; count++) replay()
await Bun.stdin.text()
isOver = true
console.log(JSON.stringify({ statuses, replays }))
process.exit()
