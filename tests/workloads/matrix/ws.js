// A server of WebSocket over TLS in the package ws, or a client in it, no tracing.
//
//     node ws.js serve CERTIFICATE KEY TLS websocket
//     node ws.js ask ws URL CERTIFICATE websocket METHOD PATH …
//
// As matrix.py says; which versions of TLS there are is told to Node itself.

'use strict'

const fs = require('fs')
const https = require('https')
const { WebSocket, WebSocketServer } = require('ws')

function serve(certificate, key) {
  const server = https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) })
  new WebSocketServer({ server }).on('connection', (connection) => {
    connection.on('message', (message) => connection.send(message.toString()))
  })
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
  process.on('SIGTERM', () => process.exit(0))
}

// As `messages` of matrix.py.
function messages(path) {
  const request = `GET ${path}/within HTTP/1.1\r\nHost: localhost\r\n\r\n`
  return ['hello', request, 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'X'.repeat(100000)]
}

function talk(url, ca, path) {
  return new Promise((resolve, reject) => {
    const connection = new WebSocket(url.replace('https:', 'wss:') + path, { ca, perMessageDeflate: false })
    const left = messages(path)
    let status
    connection.on('upgrade', (response) => (status = response.statusCode))
    connection.on('open', () => connection.send(left[0]))
    connection.on('message', (message) => {
      if (message.toString() !== left.shift()) reject(new Error(`${path}: another message came back`))
      else if (left.length) connection.send(left[0])
      else connection.close()
    })
    connection.on('close', () => resolve([status, '1.1']))
    connection.on('error', reject)
  })
}

async function ask(_, url, certificate, __, ...words) {
  await new Promise((resolve) => process.stdin.once('data', resolve))
  for (let at = 0; at < words.length; at += 2) {
    console.log(words[at], words[at + 1], ...(await talk(url, fs.readFileSync(certificate), words[at + 1])))
  }
  process.exit(0)
}

const [act, ...words] = process.argv.slice(2)
if (act === 'serve') serve(...words)
else ask(...words)
