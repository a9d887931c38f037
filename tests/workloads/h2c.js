// A server of cleartext HTTP/2 in Node's own http2, or a client of one, no tracing.
//
//     node h2c.js
//     node h2c.js --ask URL [--total 20] [--in-flight 1] [--header-bytes 0] [--body-bytes 1000]
//
// As h2c.py says.

'use strict'

const http2 = require('http2')
const { parseArgs } = require('util')

const { values } = parseArgs({
  options: {
    ask: { type: 'string' },
    total: { type: 'string', default: '20' },
    'in-flight': { type: 'string', default: '1' },
    'header-bytes': { type: 'string', default: '0' },
    'body-bytes': { type: 'string', default: '1000' },
  },
})
const fill = Number(values['header-bytes']) ? { 'x-fill': 'X'.repeat(Number(values['header-bytes'])) } : {}
const MOST_OF_HEADERS = 1 << 18

function answer(stream, headers) {
  const path = headers[':path']
  stream.resume()
  if (path.startsWith('/bytes/')) {
    stream.respond({ ':status': 200 })
    stream.end('X'.repeat(Number(path.slice('/bytes/'.length))))
  } else if (path === '/up') {
    stream.on('end', () => stream.respond({ ':status': 200 }, { endStream: true }))
  } else {
    stream.respond({ ':status': 404 }, { endStream: true })
  }
}

function serve() {
  const server = http2.createServer({ settings: { maxHeaderListSize: MOST_OF_HEADERS } })
  server.on('stream', answer)
  server.listen(0, '127.0.0.1', () => console.log(server.address().port))
  process.on('SIGTERM', () => process.exit(0))
}

function send(session, method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = { ':method': method, ':path': path, ...fill }
    const stream = session.request(headers, { endStream: body === undefined })
    let status
    stream.on('response', (headers) => (status = headers[':status']))
    stream.on('end', () => resolve(`${method} ${status}`))
    stream.on('error', reject)
    stream.resume()
    if (body !== undefined) stream.end(body)
  })
}

async function askAll() {
  const session = http2.connect(values.ask, { maxSendHeaderBlockLength: MOST_OF_HEADERS })
  const body = 'X'.repeat(Number(values['body-bytes']))
  const kinds = [
    () => send(session, 'GET', `/bytes/${body.length}`),
    () => send(session, 'POST', '/up', body),
    () => send(session, 'GET', '/missing'),
  ]
  const work = Array.from({ length: Number(values.total) }, () => kinds).flat()[Symbol.iterator]()
  const counts = {}
  async function worker() {
    for (const send of work) {
      const ended = await send().catch((error) => (console.error(error), 'failed'))
      counts[ended] = (counts[ended] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: Number(values['in-flight']) }, worker))
  console.log(JSON.stringify(counts))
  session.close()
}

if (values.ask) askAll()
else serve()
