// A server of HTTPS in Node's own https and http2, or a client in https, http2 or fetch, no tracing.
//
//     node matrix.js serve CERTIFICATE KEY TLS HTTP
//     node matrix.js ask node-https|node-http2|node-fetch URL CERTIFICATE HTTP METHOD PATH …
//
// As matrix.py says; which versions of TLS there are, and what fetch trusts, is told to Node itself.

'use strict'

const fs = require('fs')
const http2 = require('http2')
const https = require('https')

const BODY = 'X'.repeat(3000)

function serve(certificate, key, _, http) {
  const identity = { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }
  const answer = (request, response) => {
    request.resume()
    request.on('end', () => {
      response.writeHead(Number(request.url.split('/').pop()))
      response.end('hello')
    })
  }
  const server = http === '2' ? http2.createSecureServer(identity, answer) : https.createServer(identity, answer)
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
  process.on('SIGTERM', () => process.exit(0))
}

function byHttps(url, ca) {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca })
  return (method, path) =>
    new Promise((resolve, reject) => {
      const request = https.request(url + path, { method, agent }, (answer) => {
        answer.resume()
        answer.on('end', () => resolve([answer.statusCode, answer.httpVersion]))
      })
      request.on('error', reject)
      request.end(method === 'POST' ? BODY : undefined)
    })
}

function byHttp2(url, ca) {
  const session = http2.connect(url, { ca })
  return (method, path) =>
    new Promise((resolve, reject) => {
      const stream = session.request({ ':method': method, ':path': path }, { endStream: method !== 'POST' })
      let status
      stream.on('response', (headers) => (status = headers[':status']))
      stream.on('end', () => resolve([status, session.alpnProtocol === 'h2' ? '2' : session.alpnProtocol]))
      stream.on('error', reject)
      stream.resume()
      if (method === 'POST') stream.end(BODY)
    })
}

// What it trusts is told to Node when it starts. It does not say which version it spoke: the server speaks this one alone.
function byFetch(url) {
  return async (method, path) => {
    const answer = await fetch(url + path, { method, body: method === 'POST' ? BODY : undefined })
    await answer.arrayBuffer()
    return [answer.status, '1.1']
  }
}

async function ask(name, url, certificate, _, ...words) {
  await new Promise((resolve) => process.stdin.once('data', resolve))
  const by = { 'node-https': byHttps, 'node-http2': byHttp2, 'node-fetch': byFetch }[name]
  const send = by(url, fs.readFileSync(certificate))
  for (let at = 0; at < words.length; at += 2) {
    const answered = await send(words[at], words[at + 1])
    console.log(words[at], words[at + 1], ...answered)
  }
  process.exit(0)
}

const [act, ...words] = process.argv.slice(2)
if (act === 'serve') serve(...words)
else ask(...words)
